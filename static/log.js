// The log of one phase: appends what the stream brings, follows at the bottom only, jumps, wraps,
// marks ranges of lines (click a number; shift and click another).
//
// Contract (src/http/view/live.rs, `LiveLog`): app.js hands over the event `airlock:log` with
// {phase, lines: [{n, t, s: [[classes, text], …], e?}]}. A line is known by its number `n`; a line
// that is there already is replaced, so progress bars, unfinished lines and repeated events after a
// reconnection neither double nor lose anything. The server has taken escape sequences apart; text
// goes in by textContent. The element is [data-log] with data-phase; it takes lines only while it
// has data-live-log. Its rows are #L<n>. The same page with ?line=<n> shows the lines around n,
// with ?before=<n> those before it; ?block=lines answers only them.

/** Rows that a page holds while it follows, and twice as many while somebody reads; older ones make
    room and can be loaded again. */
const MOST = 5000;
const NEAR = 24;
/** Events that are kept for the element of the next phase. */
const EARLY = 200;

const $ = (selector, root = document) => root.querySelector(selector);
const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const root = document.documentElement;

let follow = false;
let unseen = 0;
let lastTop = 0;
let queue = [];
let early = [];
let frame = 0;

const log = () => $("[data-log]");
/** The element that scrolls: the log's own, or the page where the window is very low. */
function scroller() {
  const own = $("[data-log-scroll]");
  return own && getComputedStyle(own).maxHeight !== "none" ? own : document.scrollingElement;
}
const atBottom = (s) => s.scrollHeight - s.scrollTop - s.clientHeight < NEAR;

// ── Preferences, kept by the browser
const saved = (() => {
  try {
    return JSON.parse(localStorage.getItem("airlock-log")) ?? {};
  } catch {
    return {};
  }
})();
const prefs = { wrap: false, times: true, wide: false, ...saved };
function applyPrefs() {
  root.toggleAttribute("data-log-wrap", prefs.wrap);
  root.toggleAttribute("data-log-wide", prefs.wide);
  root.setAttribute("data-log-times", prefs.times ? "on" : "off");
  all("[data-log-toggle]").forEach((button) => button.setAttribute("aria-pressed", Boolean(prefs[button.dataset.logToggle])));
}
document.addEventListener("click", (event) => {
  const button = event.target.closest?.("[data-log-toggle]");
  if (!button) return;
  const name = button.dataset.logToggle;
  prefs[name] = !prefs[name];
  try {
    localStorage.setItem("airlock-log", JSON.stringify(prefs));
  } catch {
    // A browser that keeps nothing still toggles.
  }
  applyPrefs();
  if (follow) toBottom();
});

// ── Following
function setFollow(yes) {
  follow = yes;
  if (yes) unseen = 0;
  $("[data-log-follow]")?.setAttribute("aria-pressed", yes);
  const jump = $("[data-jump]");
  if (!jump) return;
  jump.hidden = yes || (unseen === 0 && !log()?.hasAttribute("data-live-log"));
  $("[data-jump-text]", jump).textContent = unseen ? `Jump to latest (${unseen} new)` : "Jump to latest";
}
function toBottom() {
  const s = scroller();
  s.scrollTop = s.scrollHeight;
  lastTop = s.scrollTop;
}
document.addEventListener(
  "scroll",
  (event) => {
    const s = scroller();
    if (!log() || (event.target !== s && event.target !== document)) return;
    if (atBottom(s)) {
      if (!follow && log().hasAttribute("data-live-log")) setFollow(true);
    } else if (s.scrollTop < lastTop && follow) {
      setFollow(false);
    }
    lastTop = s.scrollTop;
  },
  { capture: true, passive: true },
);
function toggleFollow() {
  if (!$("[data-log-follow]")) return;
  setFollow(!follow);
  if (follow) toBottom();
}
document.addEventListener("click", (event) => {
  if (event.target.closest?.("[data-log-follow]")) toggleFollow();
  if (event.target.closest?.("[data-jump]")) {
    setFollow(true);
    toBottom();
  }
});

// ── Lines
function element(name, attributes) {
  const made = document.createElement(name);
  Object.entries(attributes).forEach(([key, value]) => made.setAttribute(key, value));
  return made;
}
function row({ n, t, s, e }) {
  const made = element("div", { class: "ln", id: `L${n}` });
  if (e) made.dataset.error = "";
  const text = document.createElement("span");
  for (const [classes, words] of s) {
    if (!classes) {
      text.append(words);
      continue;
    }
    const part = element("span", { class: classes });
    part.textContent = words;
    text.append(part);
  }
  made.append(element("a", { href: `#L${n}`, tabindex: -1, "data-n": n, "aria-label": `Line ${n}` }), text, element("i", { "data-t": t }));
  return made;
}
function flush() {
  frame = 0;
  const batches = queue;
  queue = [];
  const here = log();
  // The next phase's lines may be here before its element is: they wait for it.
  early = early.concat(batches.filter((batch) => batch.phase !== here?.dataset.phase)).slice(-EARLY);
  if (!here?.hasAttribute("data-live-log")) return;
  const list = all("[data-lines]", here).at(-1);
  const fresh = document.createDocumentFragment();
  const added = new Map();
  for (const line of batches.filter((batch) => batch.phase === here.dataset.phase).flatMap((batch) => batch.lines)) {
    const present = added.get(line.n) ?? document.getElementById(`L${line.n}`);
    const made = row(line);
    if (present) present.replaceWith(made);
    else fresh.append(made);
    if (!present || added.has(line.n)) added.set(line.n, made);
  }
  if (!list || (added.size === 0 && batches.length === 0)) return;
  list.append(fresh);
  $(".empty", here)?.remove();
  $("[data-log-scroll]", here).hidden = false;
  trim(here, follow ? MOST : 2 * MOST);
  if (follow) toBottom();
  else unseen += added.size;
  setFollow(follow);
}
/** Takes the oldest rows out and leaves a link to them. */
function trim(here, most) {
  const rows = all(".ln", here);
  if (rows.length <= most) return;
  rows.slice(0, rows.length - MOST).forEach((old) => old.remove());
  const first = rows[rows.length - MOST].id.slice(1);
  let link = $("[data-earlier] a", here);
  if (!link) {
    const note = element("p", { class: "log-note", "data-earlier": "" });
    link = note.appendChild(element("a", {}));
    $("[data-log-scroll]", here).prepend(note);
  }
  const url = new URL(location.pathname.replace(/\/log$/, "") + "/log", location.href);
  url.searchParams.set("phase", here.dataset.phase);
  url.searchParams.set("before", first);
  link.href = url;
  link.removeAttribute("hx-get");
  link.textContent = "Earlier lines";
}
document.addEventListener("airlock:log", (event) => {
  queue.push(event.detail);
  frame ||= requestAnimationFrame(flush);
});

// Earlier lines come in above: what is being read stays where it is.
let height = 0;
const isEarlier = (event) => event.detail.target?.hasAttribute?.("data-earlier");
document.addEventListener("htmx:beforeSwap", (event) => isEarlier(event) && (height = scroller().scrollHeight));
document.addEventListener("htmx:afterSettle", () => {
  if (!height) return;
  const s = scroller();
  if (s.scrollTop < 200) s.scrollTop += s.scrollHeight - height;
  height = 0;
});

// ── Ranges: #L120 and #L120-L140
function range() {
  const found = /^#L(\d+)(?:-L?(\d+))?$/.exec(location.hash);
  if (!found) return undefined;
  const ends = [Number(found[1]), Number(found[2] ?? found[1])];
  return { first: Math.min(...ends), last: Math.max(...ends) };
}
function choose(scroll) {
  all("[data-chosen]").forEach((chosen) => chosen.removeAttribute("data-chosen"));
  const wanted = range();
  if (!wanted || !log()) return;
  const first = document.getElementById(`L${wanted.first}`);
  if (!first) return fetchAround(wanted.first);
  for (let next = first; next && Number(next.id.slice(1)) <= wanted.last; next = next.nextElementSibling) next.dataset.chosen = "";
  if (scroll) first.scrollIntoView({ block: "center" });
  setFollow(false);
}
/** The line is not on this page: the server shows it among its neighbours. */
function fetchAround(n) {
  const url = new URL(location.href);
  if (url.searchParams.get("line") === String(n)) return;
  url.searchParams.set("line", n);
  url.searchParams.set("phase", log().dataset.phase);
  ["q", "before"].forEach((name) => url.searchParams.delete(name));
  location.replace(url);
}
document.addEventListener("click", (event) => {
  const number = event.target.closest?.('.ln > a[href^="#"]');
  if (!number || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  const to = Number(number.dataset.n);
  const from = event.shiftKey ? (range()?.first ?? to) : to;
  history.replaceState(null, "", from === to ? `#L${to}` : `#L${Math.min(from, to)}-L${Math.max(from, to)}`);
  choose(false);
});
addEventListener("hashchange", () => choose(false));

// ── Keys
let error = -1;
function nextError() {
  const errors = all(".ln[data-error]");
  if (errors.length === 0) return $("[data-log-error]")?.click();
  error = (error + 1) % errors.length;
  setFollow(false);
  errors[error].scrollIntoView({ block: "center" });
  history.replaceState(null, "", `#${errors[error].id}`);
  choose(false);
}
document.addEventListener("airlock:key", (event) => {
  if (event.detail === "f") toggleFollow();
  if (event.detail === "e") nextError();
});

// ── Start, and again when the log's element is another one
let known;
let reading;
/** Whoever reads on when the element is replaced goes on reading at the same line. */
document.addEventListener("htmx:beforeSwap", (event) => {
  const here = log();
  if (!here || !event.detail.target?.contains(here)) return;
  const edge = $("[data-log-scroll]", here).getBoundingClientRect().top;
  const line = all(".ln", here).find((candidate) => candidate.getBoundingClientRect().bottom > edge);
  reading = follow || !line ? undefined : { phase: here.dataset.phase, id: line.id, below: line.getBoundingClientRect().top };
});
function readOn(here) {
  const line = reading?.phase === here.dataset.phase && document.getElementById(reading.id);
  if (!line) return false;
  scroller().scrollTop += line.getBoundingClientRect().top - reading.below;
  reading = undefined;
  setFollow(false);
  return true;
}
function start() {
  const here = log();
  if (!here || here === known) return;
  known = here;
  applyPrefs();
  queue.unshift(...early.filter((batch) => batch.phase === here.dataset.phase));
  early = [];
  if (queue.length) frame ||= requestAnimationFrame(flush);
  if (readOn(here)) return;
  if (range()) return choose(true);
  const s = scroller();
  const first = $(".ln[data-error]", here);
  if (s === document.scrollingElement) return setFollow(false);
  if (first && !here.hasAttribute("data-live-log")) s.scrollTop = Math.max(0, first.offsetTop - s.clientHeight / 2);
  else toBottom();
  setFollow(here.hasAttribute("data-live-log"));
}
document.addEventListener("htmx:load", start);
start();
