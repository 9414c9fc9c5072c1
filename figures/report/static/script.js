for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
    const descending = head.getAttribute("aria-sort") !== "descending";
    heads.forEach(other => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", descending ? "descending" : "ascending");
    const key = row => row.cells[column].dataset.sort;
    const compare = (a, b) => {
      const x = key(a), y = key(b), m = Number(x), n = Number(y);
      const order = Number.isNaN(m - n) && m !== n ? x.localeCompare(y, "en", { numeric: true }) : m === n ? 0 : m - n;
      return descending ? -order : order;
    };
    table.tBodies[0].append(...[...table.tBodies[0].rows].sort(compare));
  }));
}
const blocks = [...document.querySelectorAll("details.block")];
const filter = document.getElementById("filter");
if (filter) {
  const controls = filter.closest(".controls"), output = controls.querySelector("output");
  controls.hidden = false;
  filter.addEventListener("input", () => {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const block of blocks) {
      const text = (block.querySelector("summary").textContent + " " + block.id).toLowerCase();
      block.hidden = !words.every(word => text.includes(word));
    }
    const shown = blocks.filter(block => !block.hidden).length;
    output.textContent = words.length ? `${shown} of ${blocks.length}` : "";
  });
  for (const button of controls.querySelectorAll("button")) button.addEventListener("click", () => {
    for (const block of blocks) if (!block.hidden) block.open = button.dataset.open === "true";
  });
}
const unfold = () => {
  const target = location.hash.length > 1 && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (target) { const block = target.closest("details"); if (block) { block.open = true; target.scrollIntoView(); } }
};
addEventListener("hashchange", unfold);
unfold();
if (matchMedia("(prefers-reduced-motion: reduce)").matches) {
  for (const button of document.querySelectorAll(".play")) {
    button.hidden = false;
    button.addEventListener("click", () => { button.parentElement.querySelector("source").remove(); button.remove(); });
  }
}
const links = new Map([...document.querySelectorAll("nav a")].map(link => [link.hash.slice(1), link]));
const watch = new IntersectionObserver(entries => {
  for (const entry of entries) if (entry.isIntersecting) {
    for (const link of links.values()) link.removeAttribute("aria-current");
    links.get(entry.target.id)?.setAttribute("aria-current", "true");
  }
}, { rootMargin: "-20% 0px -75% 0px" });
for (const section of document.querySelectorAll("main > section")) watch.observe(section);
const line = (colour, width) => ({ stroke: colour, width, points: { show: false } });
const chart = (data, metric, place) => {
  const columns = [data.steps], series = [{}], bands = [];
  for (const [index, mean, std, complete] of metric.curves) {
    const colour = data.algorithms[index][1], first = columns.length;
    // undefined: nothing was logged in this bin, the line goes on; null: not all seeds have come this far, it ends
    const each = pick => mean.map((value, bin) => value === null ? undefined : pick(value, bin));
    const full = each((value, bin) => complete[bin] ? value : null);
    const edge = sign => each((value, bin) => complete[bin] && std[bin] !== null ? value + sign * std[bin] : null);
    columns.push(edge(1), edge(-1), each(value => value), full);
    const single = full.filter(Number.isFinite).length < 2;
    series.push(line("transparent", 0), line("transparent", 0), line(colour, 0.6));
    series.push({ ...line(colour, 1.6), points: { show: single, size: 5, fill: colour } });
    bands.push({ series: [first, first + 1], fill: colour + "26" });
  }
  const numbers = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 4 });
  const font = "10px system-ui, sans-serif", grid = { stroke: "#e1e4e8", width: 1 };
  const values = (self, ticks) => ticks.map(value => value === null ? null : numbers.format(value).replace("-", "\u2212"));
  const axis = { stroke: "#5c6670", font, ticks: { show: false }, values, gap: 4 };
  return new uPlot({
    width: place.clientWidth, height: 112, series, bands, padding: [6, 8, 0, 0],
    legend: { show: false }, cursor: { show: false }, scales: { x: { time: false } },
    axes: [{ ...axis, size: 18, space: 70, grid: { show: false } }, { ...axis, size: 46, space: 28, grid }],
  }, columns, place);
};
const charts = block => {
  const source = block.querySelector("script.charts");
  if (!source || source.dataset.drawn) return;
  source.dataset.drawn = "true";
  const data = JSON.parse(source.textContent);
  for (const [label, colour] of data.algorithms) {
    const entry = document.createElement("li"), mark = document.createElement("i");
    mark.style.color = colour;
    entry.append(mark, label);
    block.querySelector(".legend").append(entry);
  }
  for (const metric of data.charts) {
    const figure = document.createElement("figure"), name = document.createElement("figcaption");
    const place = document.createElement("div");
    name.textContent = metric.name;
    place.className = "chart";
    place.setAttribute("role", "img");
    place.setAttribute("aria-label", metric.name);
    figure.append(name, place);
    block.querySelector(".multiples").append(figure);
    const plot = chart(data, metric, place);
    new ResizeObserver(() => plot.setSize({ width: place.clientWidth, height: 112 })).observe(place);
  }
};
for (const block of blocks) {
  block.addEventListener("toggle", () => { if (block.open) charts(block); });
  if (block.open) charts(block);
}
