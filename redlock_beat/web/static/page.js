// What the pages do besides what they are: they look for news, find while one types, and ask before what cannot be
// undone. Without this script every page works by links and forms.

const spans = [[86400, "d"], [3600, "h"], [60, "min"]];

/** A span in its two largest units, as the server writes it. */
function span(seconds) {
  let left = Math.round(Math.abs(seconds));
  const parts = [];
  for (const [step, unit] of spans) {
    const many = Math.floor(left / step);
    left %= step;
    if (many) parts.push(`${many} ${unit}`);
  }
  if (left || !parts.length) parts.push(`${left} s`);
  return parts.slice(0, 2).join(" ");
}

// --- countdowns: by the server's time, whatever this machine's clock says ---

const clock = document.querySelector("[data-clock]");
let skew = clock ? Date.parse(clock.dateTime) - Date.now() : 0;

function tick() {
  const now = Date.now() + skew;
  for (const one of document.querySelectorAll("[data-from]")) {
    const seconds = (Date.parse(one.dataset.from) - now) / 1000;
    const words = Math.abs(seconds) < 1 ? "now" : seconds > 0 ? `in ${span(seconds)}` : `${span(seconds)} ago`;
    if (one.textContent !== words) one.textContent = words;
  }
}
setInterval(tick, 1000);

// --- news: parts with data-live and an id are replaced by those of the page as it is now ---

const EVERY = 5000;
let asking = null;

/** Whether somebody is writing something there. */
const busy = (part) => part.contains(document.activeElement)
  && document.activeElement.matches("input:not([type=checkbox]), select, textarea");

/** How to find again what has the focus there, once it is replaced. */
function focused(part) {
  const one = document.activeElement;
  if (!part.contains(one)) return null;
  if (one.matches("a[href]")) return `a[href="${CSS.escape(one.getAttribute("href"))}"]`;
  if (one.matches("[data-all]")) return "[data-all]";
  for (const name of ["aria-label", "formaction"]) {
    if (one.matches(`button[${name}]`)) return `button[${name}="${CSS.escape(one.getAttribute(name))}"]`;
  }
  if (one.matches("button")) return `form[action="${CSS.escape(one.form.getAttribute("action"))}"] button`;
  return one.matches("input[value]") ? `input[name="${CSS.escape(one.name)}"][value="${CSS.escape(one.value)}"]` : null;
}

async function refresh(url, { force = false } = {}) {
  asking?.abort();
  const mine = asking = new AbortController();
  let text;
  try {
    const response = await fetch(url, { headers: { "X-Live": "1" }, signal: mine.signal, credentials: "same-origin" });
    document.body.classList.toggle("stale", !response.ok);
    if (!response.ok) return;
    text = await response.text();
  } catch (error) {
    if (error.name !== "AbortError") document.body.classList.add("stale");
    return;
  } finally {
    if (asking === mine) asking = null;
  }
  if (waiting) return; // a form that is replaced while its question is asked could no longer be sent
  const fresh = new DOMParser().parseFromString(text, "text/html");
  for (const part of document.querySelectorAll("[data-live][id]")) {
    const other = fresh.getElementById(part.id);
    if (!other || (busy(part) && !force) || other.innerHTML === part.innerHTML) continue;
    const chosen = new Set([...part.querySelectorAll("input:checked")].map((one) => one.value));
    const place = focused(part);
    const open = new Set([...part.querySelectorAll("details[open][id]")].map((one) => one.id));
    part.replaceChildren(...other.childNodes);
    for (const one of part.querySelectorAll("input[type=checkbox]")) one.checked ||= chosen.has(one.value);
    for (const one of part.querySelectorAll("details[id]")) one.open ||= open.has(one.id);
    if (place) part.querySelector(place)?.focus();
  }
  const then = fresh.querySelector("[data-clock]");
  if (then && clock) {
    clock.textContent = then.textContent;
    skew = Date.parse(then.dateTime) - Date.now();
  }
  tick();
  count();
}

// What came as the answer to a form has no address to ask for it anew.
if (document.querySelector("[data-live]") && !document.body.matches("[data-answer]")) {
  // An answer that takes long is waited for: asked anew each time, it would never come.
  setInterval(() => asking || document.hidden || document.querySelector("dialog[open]") || refresh(location.href), EVERY);
  document.addEventListener("visibilitychange", () => document.hidden || refresh(location.href));
}

// --- find while one types: a form with data-find shows its results in the live parts ---

for (const form of document.querySelectorAll("form[data-find]")) {
  let timer;
  const find = () => {
    const given = [...new FormData(form)].filter(([, value]) => value !== "");
    const url = `${form.action.split("?")[0]}${given.length ? "?" : ""}${new URLSearchParams(given)}`;
    history.replaceState(null, "", url);
    refresh(url, { force: true });
  };
  form.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(find, 150);
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    find();
  });
}

// --- the next slots while one types: a form with data-preview is sent there, and #preview shows what comes back ---

for (const form of document.querySelectorAll("form[data-preview]")) {
  let timer, newest;
  const preview = async () => {
    newest?.abort(); // its answer could come after that to what is written now
    const { signal } = newest = new AbortController();
    const body = new URLSearchParams(new FormData(form));
    const headers = { "X-Live": "1" };
    try {
      const response = await fetch(form.dataset.preview, { method: "POST", body, headers, signal, credentials: "same-origin" });
      const text = await response.text();
      if (response.ok) document.getElementById("preview").innerHTML = text;
    } catch { /* the next key tries again */ }
  };
  form.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(preview, 250);
  });
}

// --- "/" goes to the search ---

document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
  if (document.activeElement?.matches("input, select, textarea")) return;
  const search = document.querySelector("input[type=search]");
  if (search) {
    event.preventDefault();
    search.focus();
    search.select();
  }
});

// --- a question before what is not easily undone ---

const dialog = document.createElement("dialog");
dialog.innerHTML = '<form method="dialog"><p></p><div class="actions"><button class="primary" value="yes">Yes</button><button value="no" autofocus>No</button></div></form>';
document.body.append(dialog);
let waiting = null;

document.addEventListener("submit", (event) => {
  const form = event.target;
  const question = event.submitter?.dataset.confirm ?? form.dataset.confirm;
  if (!question || form.dataset.sure) return;
  event.preventDefault();
  waiting = [form, event.submitter];
  dialog.querySelector("p").textContent = question;
  dialog.returnValue = "";
  dialog.showModal();
});

dialog.addEventListener("close", () => {
  const [form, button] = waiting ?? [];
  waiting = null;
  if (dialog.returnValue !== "yes" || !form) return;
  form.dataset.sure = "1";
  const confirmed = Object.assign(document.createElement("input"), { type: "hidden", name: "confirmed", value: "yes" });
  form.append(confirmed);
  form.requestSubmit(button);
  delete form.dataset.sure;
});

// --- a box that checks all, and how many are checked ---

const boxes = () => [...document.querySelectorAll("input[name=name][type=checkbox]")];

function count() {
  const many = boxes().filter((one) => one.checked).length;
  for (const one of document.querySelectorAll("[data-chosen]")) {
    one.textContent = many ? `${many} chosen:` : one.dataset.chosen;
  }
}

document.addEventListener("change", (event) => {
  const all = event.target.closest?.("[data-all]");
  if (all) for (const one of boxes()) one.checked = all.checked;
  count();
});
