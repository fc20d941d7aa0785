// The live tree: the system, its kinds, their actors, and what each has begun.

import { $, button, el } from "../js/dom.js";
import { many, number } from "../js/format.js";
import { list, short } from "./words.js";

const HEAD = ["Actor", "State", "Mailbox", "Now", "Restarts", "Handled"];
const WIDE = new Set(["Now", "Restarts", "Handled"]);
const MORE = 100;

const cell = (name, content, more = "") =>
  el(`td${WIDE.has(name) ? ".wide" : ""}${more}`, {}, content);

/** What a row shows, as text: two looks that say the same leave the row alone. */
function chipOf(actor) {
  if (actor.state !== "running") return ["warn", actor.state];
  if (actor.turn) return ["on", "answering"];
  if (actor.current) return ["on", "handling"];
  return actor.tasks ? ["on", "at work"] : ["", "idle"];
}

function stateOf(actor) {
  const [tone, text] = chipOf(actor);
  return el(`span.chip${tone && `.${tone}`}`, {}, text);
}

function nowOf(actor) {
  if (actor.current) return `${actor.current} ${short(actor.seconds)}`;
  if (actor.turn) return `${number(actor.turn.entries)} shown, quiet ${short(actor.turn.quiet_seconds ?? 0)}`;
  return "–";
}

class Kind {
  constructor(name, onMore) {
    this.name = name;
    this.rows = new Map();
    this.counts = el("span", {});
    this.body = el("tbody", {});
    this.rest = el("p.quiet", {});
    this.more = button("", `Show ${MORE} more`, null, onMore);
    this.folded = el("div.folded", { hidden: true }, this.rest, this.more);
    const heads = HEAD.map((one) => el(`th${WIDE.has(one) ? ".wide" : ""}${["Mailbox", "Restarts", "Handled"].includes(one) ? ".number" : ""}`, { scope: "col" }, one));
    this.node = el("details.kind", { open: true }, el("summary", {}, el("b", {}, name), this.counts),
      el("table.actors", { "aria-label": `Actors of the kind ${name}` }, el("thead", {}, el("tr", {}, heads)), this.body), this.folded);
  }

  take(kind, chosen) {
    this.counts.textContent = list([`${number(kind.live)} live`, kind.busy && `${number(kind.busy)} busy`,
      kind.waiting && `${many(kind.waiting, "message")} waiting`, kind.restarts && many(kind.restarts, "restart")]);
    const seen = new Set();
    const focused = document.activeElement;
    let place = this.body.firstElementChild;
    for (const actor of kind.actors) {
      seen.add(actor.key);
      const row = this.row(actor, chosen);
      if (row === place) place = place.nextElementSibling;
      else this.body.insertBefore(row, place);
    }
    for (const [key, row] of this.rows) {
      if (!seen.has(key)) {
        row.remove();
        this.rows.delete(key);
      }
    }
    if (focused !== document.activeElement && focused?.isConnected) focused.focus({ preventScroll: true });
    this.folded.hidden = !kind.folded;
    this.rest.textContent = `and ${number(kind.folded)} more, less busy`;
  }

  row(actor, chosen) {
    let row = this.rows.get(actor.key);
    if (!row) this.rows.set(actor.key, (row = el("tr", {})));
    const isChosen = this.name === "session" && actor.key === chosen;
    row.classList.toggle("chosen", isChosen);
    const said = JSON.stringify(actor);
    if (row.said === said && row.wasChosen === isChosen) return row;
    const had = row.contains(document.activeElement);
    row.said = said;
    row.wasChosen = isChosen;
    const name = actor.title ?? actor.key;
    const label = this.name === "session"
      ? el("a.name", { href: `?session_id=${actor.key}`, title: name, "data-session": actor.key, "aria-current": isChosen && "true" }, name)
      : el("span.name", {}, name);
    row.replaceChildren(
      el("th", { scope: "row" }, label, this.under(actor)),
      cell("State", stateOf(actor)),
      cell("Mailbox", el("span", { title: `at most ${number(actor.high_water)} of ${number(actor.capacity)}` }, number(actor.depth)), actor.depth ? ".number" : ".number.idle"),
      cell("Now", nowOf(actor), actor.current || actor.turn ? "" : ".idle"),
      cell("Restarts", actor.restarts ? el("span.chip.bad", {}, number(actor.restarts)) : "0", actor.restarts ? ".number" : ".number.idle"),
      cell("Handled", number(actor.handled), ".number"),
    );
    if (had) row.querySelector("a")?.focus({ preventScroll: true });
    return row;
  }

  under(actor) {
    const lines = Object.entries(actor.tasks ?? {}).map(([task, count]) =>
      el("span.under.task", {}, count > 1 ? `${task} ×${count}` : task));
    if (actor.waiting_on) lines.push(el("span.under.task", {}, `waits for ${actor.waiting_on.join(", ")}`));
    if (actor.restarts) lines.push(el("span.under", {}, `started again ${actor.restarts === 1 ? "once" : `${actor.restarts} times`}`));
    return lines;
  }
}

export class Tree {
  constructor({ onChoose, onMore }) {
    this.kinds = new Map();
    this.onMore = onMore;
    this.chosen = null;
    $("kinds").addEventListener("click", (event) => {
      const id = event.target.closest("a[data-session]")?.dataset.session;
      if (!id || event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      onChoose(id);
    });
  }

  take(now) {
    const { live, busy, waiting, dead_letters: dead } = now.actors;
    $("totals").textContent = list([`${number(live)} live`, `${number(busy)} busy`, `${many(waiting, "message")} waiting`, dead && many(dead, "dead letter")]);
    const nodes = now.kinds.map((kind) => {
      if (!this.kinds.has(kind.name)) this.kinds.set(kind.name, new Kind(kind.name, () => this.onMore(MORE)));
      const shown = this.kinds.get(kind.name);
      shown.take(kind, this.chosen);
      return shown.node;
    });
    if (!nodes.length) nodes.push((this.nobody ??= el("p.none", {}, "Nobody is awake. A chat wakes when somebody opens it, and is put away again when it is idle.")));
    if ($("kinds").children.length !== nodes.length || nodes.some((node, index) => $("kinds").children[index] !== node)) {
      $("kinds").replaceChildren(...nodes);
    }
  }
}
