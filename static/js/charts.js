// Charts: <div class="chart"><script type="application/json" data-chart>{option}</script></div>, drawn by ECharts.
// Load vendor/echarts.min.js before this file. Tooltips are rich text: ECharts' own HTML would need inline styles.
"use strict";

const drawn = new Map();

const draw = (script) => {
  const place = script.parentElement;
  if (drawn.has(place) || !window.echarts) return;
  const option = JSON.parse(script.textContent);
  option.tooltip = Object.assign({ trigger: "axis" }, option.tooltip, { renderMode: "richText" });
  option.animation = option.animation ?? !matchMedia("(prefers-reduced-motion: reduce)").matches;
  option.aria = Object.assign({ enabled: true }, option.aria);
  if (option.aria.enabled && place.getAttribute("aria-label")) option.aria.enabled = false;
  const dark = document.documentElement.getAttribute("data-bs-theme") === "dark";
  const canvas = document.createElement("div");
  canvas.className = "chart-canvas";
  place.append(canvas);
  const chart = window.echarts.init(canvas, dark ? "dark" : null, { renderer: "svg" });
  if (dark) option.backgroundColor = option.backgroundColor || "transparent";
  chart.setOption(option);
  const watch = new ResizeObserver(() => chart.resize());
  watch.observe(place);
  drawn.set(place, { chart, watch, canvas, script });
};
const clear = (place) => {
  const known = drawn.get(place);
  if (!known) return;
  known.watch.disconnect();
  known.chart.dispose();
  known.canvas.remove();
  drawn.delete(place);
};
const drawIn = (root) => {
  if (root.matches && root.matches("script[data-chart]")) draw(root);
  root.querySelectorAll("script[data-chart]").forEach(draw);
};
document.addEventListener("DOMContentLoaded", () => drawIn(document));
document.addEventListener("htmx:load", (event) => drawIn(event.target));
document.addEventListener("htmx:beforeCleanupElement", (event) => clear(event.target));
document.addEventListener("theme-changed", () => {
  [...drawn.entries()].forEach(([place, known]) => { clear(place); draw(known.script); });
});
