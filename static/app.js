// What every page gains from a script: theme, shortcuts, ticking times, copy buttons, guarded forms,
// bulk counts, and the one live stream. Every hook is a data attribute; text goes in by textContent;
// a page without this script works.
//
// The live contract is written in src/http/view/live.rs. In short: `<main data-live="URL">` names the
// stream; `?after=<last event id>` is carried in the URL whenever it is opened again; the event
// `state` carries the number of each block, and a block whose `data-rev` differs is fetched anew by
// its own hx-get; `log` is handed to log.js; `end` closes the stream for good. Closed while hidden.

const $ = (selector, root = document) => root.querySelector(selector);
const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const on = (type, act, options) => document.addEventListener(type, act, options);
/** Acts on events of one type below elements that match. */
const under = (type, selector, act) =>
  on(type, (event) => {
    const found = event.target.closest?.(selector);
    if (found) act(found, event);
  });

// ── What works only with a script was hidden until now
const reveal = (root) => all("[data-copy], [data-open], [data-log-toggle], [data-log-follow]", root).forEach((e) => (e.hidden = false));

// ── Theme
function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  const secure = location.protocol === "https:" ? "; Secure" : "";
  document.cookie = `airlock_theme=${theme}; Path=/; Max-Age=31536000; SameSite=Lax${secure}`;
  all("[data-theme-to]").forEach((b) => b.setAttribute("aria-pressed", b.dataset.themeTo === theme));
  all("[data-theme-radio]").forEach((r) => (r.checked = r.value === theme));
}
under("click", "[data-theme-to]", (button, event) => {
  event.preventDefault();
  setTheme(button.dataset.themeTo);
});
under("change", "[data-theme-radio]", (radio) => setTheme(radio.value));

// ── Times: the same words as the server's (src/http/view/words.rs)
const skew = Date.parse(document.body.dataset.now) - Date.now() || 0;
const two = (n) => String(n).padStart(2, "0");
function span(ms) {
  const s = Math.floor(ms / 1000);
  if (s < 60) return `${s}s`;
  if (s < 3600) return `${Math.floor(s / 60)}m ${two(s % 60)}s`;
  if (s < 86400) return `${Math.floor(s / 3600)}h ${two(Math.floor((s % 3600) / 60))}m`;
  return `${Math.floor(s / 86400)}d ${two(Math.floor((s % 86400) / 3600))}h`;
}
function ago(ms) {
  const s = Math.floor(Math.abs(ms) / 1000);
  const days = Math.floor(s / 86400);
  if (s < 10) return ms < 0 ? "in a moment" : "just now";
  if (days === 1 && ms > 0) return "yesterday";
  const words = s < 60 ? `${s} s` : s < 3600 ? `${Math.floor(s / 60)} min` : s < 86400 ? `${Math.floor(s / 3600)} h` : `${days} day${days === 1 ? "" : "s"}`;
  return ms < 0 ? `in ${words}` : `${words} ago`;
}
const put = (element, text) => element.textContent !== text && (element.textContent = text);
let beat = 0;
function tick() {
  if (document.hidden) return;
  const now = Date.now() + skew;
  all("time[data-tick]").forEach((t) => put(t, span(Math.max(0, now - Date.parse(t.dateTime)))));
  if (beat++ % 20 === 19) {
    all("time[data-ago]").forEach((t) => {
      const past = now - Date.parse(t.dateTime);
      if (Math.abs(past) < 5184e6) put(t, ago(past));
    });
  }
}
setInterval(tick, 1000);

// ── Copying
under("click", "[data-copy]", async (button) => {
  if (!(await copied(button.dataset.copy))) return say("Select it and press Ctrl-C");
  button.dataset.done = "";
  say("Copied");
  setTimeout(() => delete button.dataset.done, 1500);
});
async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Over plain http there is no clipboard, but a selection.
    const held = document.activeElement;
    const field = document.createElement("textarea");
    field.className = "visually-hidden";
    field.value = text;
    document.body.append(field);
    field.select();
    const done = document.execCommand("copy");
    field.remove();
    held?.focus();
    return done;
  }
}
const say = (text) => put($("[data-say]") ?? document.createElement("p"), text);

// ── Forms: a second submission of the same form is no submission
on("submit", (event) => {
  const form = event.target;
  if (event.defaultPrevented || form.method === "dialog") return;
  if (form.dataset.sent) return event.preventDefault();
  if (form.method !== "post") return shorten(form);
  form.dataset.sent = "yes";
  event.submitter?.setAttribute("aria-busy", "true");
});
/** Filters that say nothing stay out of the address. */
function shorten(form) {
  const silent = all("input, select", form).filter((field) => !field.disabled && field.value === "");
  silent.forEach((field) => (field.disabled = true));
  setTimeout(() => silent.forEach((field) => (field.disabled = false)));
}
// Back from the next page: the form may be sent again.
addEventListener("pageshow", () => {
  all("form[data-sent]").forEach((form) => delete form.dataset.sent);
  all("[aria-busy]").forEach((button) => button.removeAttribute("aria-busy"));
});
under("change", "form[data-auto] select", (select) => select.form.requestSubmit());

function countChosen(form) {
  const chosen = all("input[type=checkbox]:checked", form);
  const label = $("[data-bulk-count]", form);
  if (!label) return;
  label.dataset.before ??= label.textContent;
  put(label, chosen.length ? `${chosen.length} of ${all("input[type=checkbox]", form).length} chosen` : label.dataset.before);
  all(".bulk button:not(.default)", form).forEach((button) => (button.disabled = chosen.length === 0));
  all("[data-bulk-names]", form).forEach((names) => put(names, chosen.map((box) => box.value).join(", ")));
}
under("change", "form[data-bulk]", countChosen);

// ── Cards that unfold close on Escape and on a click elsewhere
on("click", (event) => all("details[data-popover][open]").forEach((d) => d.contains(event.target) || (d.open = false)));
function openDialog(dialog) {
  dialog?.showModal();
  $("button", dialog ?? document)?.focus();
}
under("click", "[data-open]", (button) => {
  button.closest("details")?.removeAttribute("open");
  openDialog(document.getElementById(button.dataset.open));
});

// ── Keyboard
let before = "";
function step(by) {
  const first = (row) => $(".go, .what a, .row-acts :is(summary, button), td a", row);
  const rows = all("[data-row]").map(first).filter(Boolean);
  const here = rows.findIndex((a) => a.closest("[data-row]").contains(document.activeElement));
  rows[here < 0 ? (by > 0 ? 0 : rows.length - 1) : Math.min(rows.length - 1, Math.max(0, here + by))]?.focus();
}
const keys = {
  "/": () => $("#log-q, [data-search]")?.focus(),
  "?": () => openDialog($("#keys")),
  j: () => step(1),
  k: () => step(-1),
  "g s": () => location.assign("/stacks"),
  "g r": () => location.assign("/runs"),
};
on("keydown", (event) => {
  if (event.key === "Escape") {
    const open = $("details[data-popover][open]");
    open?.removeAttribute("open");
    return $("summary", open ?? document.createElement("p"))?.focus();
  }
  const typing = event.target.closest?.("input:not([type=checkbox], [type=radio]), textarea, select, dialog, [contenteditable]");
  if (typing || event.ctrlKey || event.metaKey || event.altKey || !("shortcuts" in document.body.dataset)) return;
  const pair = `${before} ${event.key}`;
  before = event.key === "g" ? "g" : "";
  const act = keys[pair] ?? keys[event.key];
  if (act) {
    event.preventDefault();
    act();
  } else {
    document.dispatchEvent(new CustomEvent("airlock:key", { detail: event.key }));
  }
});

// ── Live
const main = $("main[data-live]");
const bar = $("[data-reconnect]");
const stale = new Set();
let stream, after, timer, notice, pause = 1000, over = false;

function show(text, forMs) {
  clearTimeout(notice);
  notice = undefined;
  if (!bar) return;
  put(bar, text);
  bar.hidden = !text;
  if (forMs) notice = setTimeout(() => show(""), forMs);
}

function open() {
  if (!main || stream || over || document.hidden) return;
  clearTimeout(timer);
  const url = new URL(main.dataset.live, location.href);
  if (after) url.searchParams.set("after", after);
  stream = new EventSource(url);
  stream.onopen = () => {
    pause = 1000;
    if (bar && !bar.hidden) show("Connected again", 3000);
    else show("");
  };
  stream.onerror = lost;
  stream.addEventListener("state", (event) => changed(JSON.parse(event.data)));
  stream.addEventListener("log", (event) => {
    after = event.lastEventId || after;
    document.dispatchEvent(new CustomEvent("airlock:log", { detail: JSON.parse(event.data) }));
  });
  stream.addEventListener("end", (event) => ended(JSON.parse(event.data).why));
}

function close() {
  stream?.close();
  stream = undefined;
  clearTimeout(timer);
}

function lost() {
  close();
  if (document.hidden || over) return;
  // A short interruption is not worth a word.
  if (bar?.hidden) notice ??= setTimeout(() => show("Connection lost. This page stays as it is; reconnecting…"), 1500);
  timer = setTimeout(open, pause * (0.75 + Math.random() / 2));
  pause = Math.min(pause * 2, 15000);
}

function ended(why) {
  close();
  if (why === "restart") return lost();
  over = true;
  if (why === "signed_out") show("You were signed out. Reload the page to sign in again.");
  if (why === "forbidden") show("Your role has changed. Reload the page.");
}

// What somebody has unfolded stays unfolded when its block is replaced.
const unfolded = new Map();
const folds = (block, act) => all("details:not([data-popover])", block).forEach((fold, n) => act(fold, n + $("summary", fold).textContent));
on("htmx:beforeSwap", ({ detail: { target } }) =>
  folds(target, (fold, key) => (fold.open === fold.was ? unfolded.delete(key) : unfolded.set(key, fold.open))),
);

/** Whether replacing this element would take something out of the reader's hands. */
function inUse(element) {
  const active = document.activeElement;
  const typing = element.contains(active) && active.matches("input, textarea, select") && !active.hasAttribute("hx-preserve");
  return typing || $("details[data-popover][open], input[type=checkbox]:checked", element);
}

/**
 * The numbers told last, and the blocks that were asked for since: an element that is just being
 * replaced hears nothing, so whatever comes in its place is compared once more.
 */
let told = {};
const asked = new Set();

function refresh(element) {
  if (inUse(element)) return stale.add(element);
  stale.delete(element);
  window.htmx?.trigger(element, "live");
}
const catchUp = () => setTimeout(() => stale.forEach((element) => (element.isConnected ? refresh(element) : stale.delete(element))));
["focusout", "change", "toggle"].forEach((type) => on(type, catchUp, true));

function changed(state) {
  document.title = state.title;
  const icon = $("link[rel=icon]");
  if (state.look && icon) icon.href = icon.getAttribute(`data-${state.look}`) ?? icon.href;
  if (state.say) say(state.say);
  all("[data-needs-you]").forEach((badge) => {
    badge.hidden = !state.needs_you;
    put($("[data-n]", badge), String(state.needs_you));
  });
  told = state.blocks;
  asked.clear();
  all("[data-block]").forEach((element) => compare(element) && asked.add(element.dataset.block));
}

function compare(element) {
  const rev = told[element.dataset.block];
  const differs = rev !== undefined && String(rev) !== element.dataset.rev;
  if (differs) refresh(element);
  return differs;
}

on("visibilitychange", () => (document.hidden ? close() : (tick(), open())));
addEventListener("pagehide", close);
addEventListener("pageshow", open);

// ── Start
function start(root) {
  reveal(root);
  folds(root, (fold) => (fold.was = fold.open));
  all("form[data-bulk]", root).forEach(countChosen);
  root.closest?.("form[data-bulk]") && countChosen(root.closest("form[data-bulk]"));
}
on("htmx:load", ({ detail: { elt } }) => {
  start(elt);
  folds(elt, (fold, key) => (fold.open = unfolded.get(key) ?? fold.open));
  if (asked.delete(elt.dataset?.block)) compare(elt);
});
start(document);
$("[data-focus]")?.focus();
// Sideways only: tabs may lie below the window, and the page stays where it is.
for (const here of all(".nav [aria-current], .tabs [aria-current]")) {
  const row = here.parentElement;
  const off = here.getBoundingClientRect().left - row.getBoundingClientRect().left;
  row.scrollLeft += off - (row.clientWidth - here.clientWidth) / 2;
}
open();
