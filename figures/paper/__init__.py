"""The paper's figures and tables, redrawn from runs: what is drawn here decides nothing."""
