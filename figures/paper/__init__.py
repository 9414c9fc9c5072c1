"""The paper's figures and tables, redrawn from runs; nothing is computed here that is not drawn."""
