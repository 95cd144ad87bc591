// Campaign screens: what the matrix and the rules show while one types. Saving is htmx's work.
"use strict";

// A slider and its number: <input type=range data-twin="#id"> and the number it names.
const twinned = (event) => {
  const range = event.target.closest("input[type=range][data-twin]");
  if (range) {
    const number = document.querySelector(range.dataset.twin);
    if (number) number.value = range.value;
    return;
  }
  const number = event.target.closest("input[data-twin-of]");
  if (number) {
    const twin = document.querySelector(`input[type=range][data-twin="#${number.id}"]`);
    if (twin) twin.value = number.value;
  }
};
document.addEventListener("input", twinned);

// A cell without touches shows its gap faintly; one touch needs no gap.
const shade = (cell) => {
  const n = Number(cell.querySelector("[data-n]").value || 0);
  cell.classList.toggle("is-empty", n === 0);
  cell.classList.toggle("is-single", n === 1);
};
const shadeAll = (root) => root.querySelectorAll("[data-cell]").forEach(shade);
document.addEventListener("DOMContentLoaded", () => shadeAll(document));
document.addEventListener("input", (event) => {
  const cell = event.target.closest("[data-cell]");
  if (cell) shade(cell);
});

// Arrow keys with Alt walk through the matrix; plain arrows change the number as usual.
document.addEventListener("keydown", (event) => {
  if (!event.altKey || !event.key.startsWith("Arrow")) return;
  const input = event.target.closest(".matrix input");
  if (!input) return;
  const cell = input.closest("td");
  const row = cell.parentElement;
  const kind = input.matches("[data-n]") ? "[data-n]" : "[data-gap]";
  let next = null;
  if (event.key === "ArrowLeft") next = cell.previousElementSibling;
  if (event.key === "ArrowRight") next = cell.nextElementSibling;
  if (event.key === "ArrowUp" && row.previousElementSibling) next = row.previousElementSibling.children[cell.cellIndex];
  if (event.key === "ArrowDown" && row.nextElementSibling) next = row.nextElementSibling.children[cell.cellIndex];
  const target = next && next.querySelector(kind);
  if (target) { event.preventDefault(); target.focus(); target.select(); }
});

// A part whose previews change with what was chosen: load the page again once it was saved.
document.addEventListener("htmx:afterRequest", (event) => {
  const form = event.target.closest && event.target.closest("form[data-reload-after]");
  if (form && event.detail.successful) window.location.reload();
});

// On a phone the steps scroll: show the one that is open.
document.addEventListener("DOMContentLoaded", () => {
  const here = document.querySelector(".steps-of-campaign [aria-current]");
  if (here) here.scrollIntoView({ block: "nearest", inline: "center" });
});

// A field's chip writes the field where the cursor stands.
document.addEventListener("click", (event) => {
  const chip = event.target.closest("[data-insert]");
  if (!chip) return;
  const target = document.querySelector("[data-last-focused]") || document.querySelector(chip.dataset.into);
  if (!target) return;
  target.focus();
  target.setRangeText(chip.dataset.insert, target.selectionStart, target.selectionEnd, "end");
  target.dispatchEvent(new Event("change", { bubbles: true }));
});
document.addEventListener("focusin", (event) => {
  if (!event.target.matches(".words-input, [data-words]")) return;
  document.querySelectorAll("[data-last-focused]").forEach((other) => other.removeAttribute("data-last-focused"));
  event.target.setAttribute("data-last-focused", "");
});

// A button of a form that saves itself by htmx is a plain submit: ask its question here (see js/evenreach.js).
document.addEventListener("submit", (event) => {
  const button = event.submitter;
  const form = event.target;
  if (!button || !button.dataset.confirm || !form.hasAttribute("hx-post") || asked.has(form)) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  ask(button.dataset.confirm, button.dataset.confirmYes, () => {
    asked.add(form);
    form.requestSubmit(button);
    asked.delete(form);
  });
}, true);
