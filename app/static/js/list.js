// The list of chats: grouped, searched, and thousands of rows long without being slow: the rows that
// are out of view do not exist.

import { at, call, query } from "./api.js";
import { $, button, el, icon } from "./dom.js";
import { many } from "./format.js";
import { HEADING, ROW, laidOut } from "./rows.js";
import { announce } from "./says.js";

const MARGIN = 400; // pixels beyond the view in which rows exist
const REFRESH_MS = 800;
const SEARCH_MS = 180;
const AGAIN_MS = 1000;
const MOST_FOUND = 50;
const MOST_LOOKED_AT = 500; // by the server, when only some of them count

export class SessionList {
  /** `onOpen(id)`; `menuFor(row, anchor, onClose)`. */
  constructor({ onOpen, menuFor, onRows }) {
    this.box = $("list");
    this.ul = this.box.querySelector("ul");
    this.search = $("search");
    this.scope = $("scope");
    this.onOpen = onOpen;
    this.menuFor = menuFor;
    this.onRows = onRows;
    this.rows = null; // all, as the server last told
    this.projects = [];
    this.found = null; // what the search gave
    this.current = null;
    this.active = null; // the row that Tab leads to
    this.nodes = new Map();
    this.layout = { entries: [], height: 0 };
    this.box.addEventListener("scroll", () => this.draw(), { passive: true });
    new ResizeObserver(() => this.draw()).observe(this.box);
    this.ul.addEventListener("keydown", (event) => this.key(event));
    this.ul.addEventListener("click", (event) => this.click(event));
    this.ul.addEventListener("focusin", (event) => this.focused(event));
    this.search.addEventListener("input", () => this.type());
    this.search.addEventListener("keydown", (event) => {
      if (event.key === "ArrowDown" || (event.key === "Enter" && this.search.value)) {
        event.preventDefault();
        this.focusRow(this.shown()[0]?.session_id, event.key === "Enter");
      }
    });
    this.scope.addEventListener("change", () => { this.box.scrollTop = 0; this.type(); });
    this.skeleton();
  }

  skeleton() {
    for (let n = 0; n < 6; n++) {
      const bar = el("span");
      bar.style.width = `${45 + ((n * 37) % 40)}%`;
      const item = el("li.skeleton", { "aria-hidden": "true" }, bar);
      item.style.top = `${n * ROW + 8}px`;
      item.style.height = `${ROW}px`;
      this.ul.append(item);
    }
  }

  /** Ask for the list, at once, and then not again for a moment. */
  refresh() {
    if (this.resting) {
      this.again = true;
      return this.asking;
    }
    this.resting = setTimeout(() => {
      this.resting = null;
      if (this.again) this.refresh();
    }, REFRESH_MS);
    this.again = false;
    this.asking = this.ask();
    return this.asking;
  }

  async ask() {
    const asked = (this.asked = (this.asked ?? 0) + 1);
    try {
      const [{ sessions }, { projects }] = await Promise.all([call("/api/tab/sessions"), call("/api/projects")]);
      if (asked !== this.asked) return;
      this.rows = sessions;
      this.projects = projects;
    } catch (error) {
      if (asked === this.asked && this.rows === null) this.failed(error);
      return;
    }
    this.showScopes();
    if (this.search.value.trim()) this.find();
    this.arrange();
    this.onRows(this.rows);
  }

  failed(error) {
    this.ul.replaceChildren(el("li.none", {}, error.unreachable ? "The server cannot be reached." : error.message));
  }

  showScopes() {
    const chosen = this.scope.value;
    const archived = this.rows.filter((row) => row.archived).length;
    const options = [["", "All chats"], ...this.projects.map((p) => [p.project_id, p.name])];
    if (archived || chosen === "archived") options.push(["archived", `Archived (${archived})`]);
    const wanted = JSON.stringify(options);
    if (wanted === this.scopes) return;
    this.scopes = wanted;
    this.scope.replaceChildren(...options.map(([value, name]) => el("option", { value }, name)));
    this.scope.value = options.some(([value]) => value === chosen) ? chosen : "";
  }

  shown() {
    if (this.found) return this.found;
    return (this.rows ?? []).filter((row) => this.inScope(row) && (!row.archived || this.scope.value === "archived"));
  }

  /** Is it of what is chosen above the list? */
  inScope(row) {
    const scope = this.scope.value;
    return !scope || (scope === "archived" ? row.archived : row.project_id === scope);
  }

  get scopeName() {
    return this.scope.value && this.scope.selectedOptions[0].textContent;
  }

  // -- searching ----------------------------------------------------------------------------

  type() {
    clearTimeout(this.typing);
    const text = this.search.value.trim().toLowerCase();
    if (!text) {
      this.found = null;
      this.searched = null;
      this.arrange();
      return;
    }
    this.found = (this.rows ?? []).filter((row) => this.inScope(row) && row.title.toLowerCase().includes(text)).slice(0, MOST_FOUND);
    this.box.scrollTop = 0;
    this.arrange();
    this.typing = setTimeout(() => this.find(), SEARCH_MS);
  }

  async find() {
    const text = this.search.value.trim();
    const { scopeName } = this;
    try {
      const limit = scopeName ? MOST_LOOKED_AT : MOST_FOUND;
      const { sessions, complete } = await call(query("/api/sessions/search", { q: text, limit }));
      if (text !== this.search.value.trim() || scopeName !== this.scopeName) return;
      this.found = sessions.filter((row) => this.inScope(row)).slice(0, MOST_FOUND);
      this.arrange();
      const asked = `${text} in ${scopeName}`;
      if (asked !== this.searched) announce(this.foundText());
      this.searched = asked;
      clearTimeout(this.typing);
      if (!complete) this.typing = setTimeout(() => this.find(), AGAIN_MS); // records are being read
    } catch {
      // What the titles gave stays.
    }
  }

  foundText() {
    const count = this.found.length;
    const where = this.scopeName && ` in ${this.scopeName}`;
    return count ? `${count === MOST_FOUND ? "The best " : ""}${many(count, "chat")} found${where}` : `No chat found${where}`;
  }

  // -- drawing ------------------------------------------------------------------------------

  arrange() {
    if (!this.rows) return;
    const rows = this.shown();
    const held = document.activeElement?.closest?.("#list li")?.dataset.key;
    const place = this.layout.entries.find((entry) => entry.key === held)?.index;
    this.layout = laidOut(rows, { found: this.found !== null });
    if (!rows.some((row) => row.session_id === this.active)) {
      this.active = rows.some((row) => row.session_id === this.current) ? this.current : rows[0]?.session_id;
    }
    for (const node of this.ul.querySelectorAll(".skeleton, .none")) node.remove();
    this.count = rows.length;
    this.ul.style.height = `${this.layout.height}px`;
    if (!rows.length) this.ul.append(el("li.none", {}, this.emptyText()));
    this.draw(true);
    if (place === undefined || rows.some((row) => row.session_id === held)) return;
    if (rows.length) this.focusRow(rows[Math.min(place, rows.length - 1)].session_id); // the row that had the focus is gone
    else this.search.focus();
  }

  emptyText() {
    if (this.found && this.scope.value) return `Nothing found in “${this.scopeName}”. To look in all chats, choose that above.`;
    if (this.found) return "Nothing found. Titles and everything that was said are searched.";
    if (this.scope.value) return "No chats here yet.";
    return "Your chats will be listed here.";
  }

  draw(anew = false) {
    if (!this.rows) return;
    const { entries } = this.layout;
    const from = this.box.scrollTop - MARGIN;
    const to = this.box.scrollTop + this.box.clientHeight + MARGIN;
    const held = document.activeElement?.closest?.("#list li")?.dataset.key;
    const wanted = new Map();
    for (let at = this.firstAfter(from); at < entries.length && entries[at].top < to; at++) wanted.set(entries[at].key, entries[at]);
    for (const key of [held, this.active]) {
      if (key && !wanted.has(key)) {
        const entry = entries.find((one) => one.key === key);
        if (entry) wanted.set(key, entry);
      }
    }
    for (const [key, item] of this.nodes) {
      if (!wanted.has(key)) {
        item.node.remove();
        this.nodes.delete(key);
      }
    }
    let previous = null;
    for (const entry of [...wanted.values()].sort((a, b) => a.top - b.top)) {
      let item = this.nodes.get(entry.key);
      if (!item) {
        item = { node: entry.row ? this.newRow() : this.newHeading(entry), said: "" };
        item.node.dataset.key = entry.key;
        this.nodes.set(entry.key, item);
        anew = true;
      }
      const { node } = item;
      if (entry.row) this.fill(item, entry);
      if (item.top !== entry.top || item.height !== entry.height) {
        node.style.top = `${(item.top = entry.top)}px`;
        node.style.height = `${(item.height = entry.height)}px`;
      }
      if (anew) {
        const next = previous ? previous.nextSibling : this.ul.firstChild;
        if (next !== node) {
          const focus = node.contains(document.activeElement) ? document.activeElement : null;
          this.ul.insertBefore(node, next);
          focus?.focus({ preventScroll: true });
        }
      }
      previous = node;
    }
  }

  firstAfter(top) {
    const { entries } = this.layout;
    let low = 0;
    let high = entries.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (entries[middle].top + entries[middle].height < top) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  newHeading({ heading }) {
    return el("li", {}, el("h2", {}, heading));
  }

  newRow() {
    const more = button("icon.more", "Actions", "more", null, { "aria-haspopup": "menu", "aria-expanded": "false" });
    return el("li", {}, el("a", { draggable: false }), more);
  }

  fill(item, { row, index }) {
    const [link, more] = item.node.children;
    link.tabIndex = more.tabIndex = row.session_id === this.active ? 0 : -1;
    if (row.session_id === this.current) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
    item.node.setAttribute("aria-posinset", index + 1);
    item.node.setAttribute("aria-setsize", this.count);
    const said = JSON.stringify(row);
    if (said === item.said) return; // what is being clicked must not be made anew
    item.said = said;
    link.href = at(`/session/${row.session_id}`);
    const title = row.title === "Untitled" ? "New chat" : row.title;
    const name = el("span.name", { dir: "auto" }, title);
    if (row.match_preview && row.match_type === "content") name.append(el("span.found", {}, row.match_preview));
    const waits = row.waiting_count ? `, ${row.waiting_count} waiting` : "";
    link.replaceChildren(
      ...[
        row.approval_count && el("span.asks", { title: "Waits for your answer" }, icon("alert"), el("span.unseen", {}, "waits for your answer: ")),
        !row.approval_count && (row.running || row.is_streaming) && el("span.dot", { title: "Answering" }, el("span.unseen", {}, `answering${waits}: `)),
        name,
        row.pinned && icon("pin"),
        row.pinned && el("span.unseen", {}, ", pinned"),
      ].filter(Boolean),
    );
    more.setAttribute("aria-label", `Actions for ${title}`);
  }

  // -- moving in it -------------------------------------------------------------------------

  select(sessionId) {
    this.current = sessionId;
    if (sessionId) this.active = sessionId;
    this.draw();
  }

  focusRow(sessionId, open = false) {
    const entry = this.layout.entries.find((one) => one.key === sessionId);
    if (!entry) return;
    this.active = sessionId;
    const { scrollTop, clientHeight } = this.box;
    if (entry.top - HEADING < scrollTop) this.box.scrollTop = entry.top - HEADING;
    else if (entry.top + entry.height > scrollTop + clientHeight) this.box.scrollTop = entry.top + entry.height - clientHeight + 8;
    this.draw();
    this.nodes.get(sessionId).node.firstChild.focus({ preventScroll: true });
    if (open) this.onOpen(sessionId);
  }

  focused(event) {
    const key = event.target.closest("li")?.dataset.key;
    if (key && key !== this.active) {
      this.active = key;
      this.draw();
    }
  }

  key(event) {
    const item = event.target.closest("li");
    if (!item || event.altKey || event.ctrlKey || event.metaKey) return;
    const rows = this.shown();
    const at = rows.findIndex((row) => row.session_id === item.dataset.key);
    const page = Math.max(1, Math.floor(this.box.clientHeight / ROW) - 2);
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -rows.length, End: rows.length };
    if (event.key in steps) {
      if (event.key === "ArrowUp" && at === 0) this.search.focus();
      else this.focusRow(rows[Math.max(0, Math.min(rows.length - 1, at + steps[event.key]))].session_id);
    } else if (event.key === "ArrowRight") item.lastChild.focus();
    else if (event.key === "ArrowLeft") item.firstChild.focus();
    else if (event.key === "ContextMenu" || (event.key === "F10" && event.shiftKey)) this.openMenu(item);
    else return;
    event.preventDefault();
  }

  click(event) {
    const item = event.target.closest("li");
    if (!item?.dataset.key) return;
    if (event.target.closest(".more")) this.openMenu(item);
    else if (event.target.closest("a") && !(event.ctrlKey || event.metaKey || event.shiftKey || event.button)) {
      event.preventDefault();
      this.onOpen(item.dataset.key);
    }
  }

  openMenu(item) {
    const row = this.shown().find((one) => one.session_id === item.dataset.key);
    if (!row) return;
    item.classList.add("open");
    this.menuFor(row, item.lastChild, () => item.classList.remove("open"));
  }
}
