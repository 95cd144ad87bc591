// Behaviour of every page. Elements say what they want by data attributes; nothing is inline.
"use strict";

// Light or dark, kept on this device.
document.addEventListener("click", (event) => {
  if (!event.target.closest("[data-theme-toggle]")) return;
  const root = document.documentElement;
  const theme = root.getAttribute("data-bs-theme") === "dark" ? "light" : "dark";
  root.setAttribute("data-bs-theme", theme);
  try { localStorage.setItem("theme", theme); } catch (error) { /* storage is off */ }
  document.dispatchEvent(new CustomEvent("theme-changed"));
});

// data-confirm="question" on a form, button or link: ask before going on. data-confirm-yes names the answer.
const ask = (question, yes, then) => {
  const dialog = document.getElementById("confirm");
  const accept = dialog.querySelector("[data-yes]");
  accept.dataset.usual = accept.dataset.usual || accept.textContent;
  accept.textContent = yes || accept.dataset.usual;
  dialog.querySelector(".confirm-question").textContent = question;
  dialog.returnValue = "no";
  dialog.onclose = () => { if (dialog.returnValue === "yes") then(); };
  dialog.showModal();
};
const asked = new WeakSet();
document.addEventListener("submit", (event) => {
  const form = event.target;
  const source = event.submitter && event.submitter.dataset.confirm ? event.submitter : form;
  if (!source.dataset.confirm || asked.has(form) || form.hasAttribute("hx-post")) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  ask(source.dataset.confirm, source.dataset.confirmYes, () => {
    asked.add(form);
    form.requestSubmit(event.submitter || undefined);
    asked.delete(form);
  });
}, true);
document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-confirm]");
  if (!link) return;
  event.preventDefault();
  ask(link.dataset.confirm, link.dataset.confirmYes, () => { window.location.assign(link.href); });
});
document.addEventListener("htmx:confirm", (event) => {
  const source = event.target.closest("[data-confirm]");
  if (!source) return;
  event.preventDefault();
  ask(source.dataset.confirm, source.dataset.confirmYes, () => event.detail.issueRequest(true));
});

// data-copy="#id" or data-copy-text="…": copy, and say so on the button (data-copied).
document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy], [data-copy-text]");
  if (!button) return;
  const source = button.dataset.copy ? document.querySelector(button.dataset.copy) : null;
  const text = source ? (source.value || source.textContent.trim()) : button.dataset.copyText;
  try {
    await navigator.clipboard.writeText(text);
  } catch (error) {
    // Without https there is no clipboard: select it, so that one key press copies it.
    if (source) window.getSelection().selectAllChildren(source);
    return;
  }
  const usual = button.textContent;
  button.textContent = button.dataset.copied || "✓";
  setTimeout(() => { button.textContent = usual; }, 2000);
});

// data-submit-on-change: filters without a button; the button stays for those without scripts.
document.addEventListener("change", (event) => {
  const form = event.target.closest("form[data-submit-on-change]");
  if (form) form.requestSubmit();
});

// data-check-all="name": a box that ticks all boxes of that name in its form.
document.addEventListener("change", (event) => {
  const name = event.target.dataset && event.target.dataset.checkAll;
  if (!name) return;
  const scope = event.target.closest("form") || document;
  scope.querySelectorAll(`input[type=checkbox][name="${name}"]`).forEach((box) => { box.checked = event.target.checked; });
});

// What htmx could not do is told, never swallowed.
const tell = (kind) => {
  const failure = document.getElementById("failure");
  const messages = document.getElementById("messages");
  if (!failure || !messages) return;
  const note = failure.content.cloneNode(true);
  note.querySelectorAll("[data-text]").forEach((text) => { if (text.dataset.text !== kind) text.remove(); });
  messages.replaceChildren(note);
};
document.addEventListener("htmx:responseError", (event) => {
  const status = event.detail.xhr.status;
  tell(status === 403 ? "refused" : status === 404 ? "missing" : "server");
});
document.addEventListener("htmx:sendError", () => tell("network"));
document.addEventListener("htmx:beforeSwap", (event) => {
  // The session ended and the answer is the log-in page: show it as a page, not inside a part of one.
  const login = document.body.dataset.login;
  const url = event.detail.xhr.responseURL;
  if (login && url && new URL(url).pathname === login) {
    event.detail.shouldSwap = false;
    window.location.reload();
  }
});
