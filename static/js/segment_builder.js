// The builder works by its buttons alone; this spares a click and keeps the keyboard where one is working.
"use strict";

let waitingFor = "";

document.addEventListener("change", (event) => {
  const select = event.target.closest("select[data-add]");
  if (!select || !select.value) return;
  select.parentElement.querySelector("[data-add-button]").click();
});

// After an action the part is drawn anew: go to the condition that was added, or to the group it was in.
document.addEventListener("htmx:configRequest", (event) => {
  const act = event.detail.parameters.act || (event.detail.formData && event.detail.formData.get("act"));
  if (typeof act === "string") waitingFor = act;
});
document.addEventListener("htmx:afterSwap", (event) => {
  if (event.target.id !== "builder" || !waitingFor) return;
  const [name, path] = waitingFor.split(":");
  waitingFor = "";
  const node = document.querySelector(`[data-node="${name === "remove" ? path.slice(0, path.lastIndexOf(".")) : path}"]`);
  if (!node) return;
  let place = node;
  if (name === "add" || name === "group") {
    const children = [...node.querySelectorAll("[data-node]")].filter((child) => child.parentElement.closest("[data-node]") === node);
    place = children[children.length - 1] || node;
  }
  const first = name === "remove"
    ? node.querySelector(":scope > .rule-add select")
    : place.querySelector("select, input:not([type=hidden]), textarea");
  if (first) first.focus();
});
