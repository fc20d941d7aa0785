// One chat: why it is busy, its story while it is watched, and the turns before.

import { $, button, el } from "../js/dom.js";
import { clock, many, number } from "../js/format.js";
import { Lines, lineNode } from "./story.js";
import { list, short } from "./words.js";

const ENDED = { answered: "", running: "open", stopped: "asked" };

export class SessionPanel {
  constructor({ onClose, onBusy }) {
    this.box = $("session");
    this.onClose = onClose;
    this.onBusy = onBusy;
    this.id = null;
  }

  open(id) {
    this.id = id;
    this.box.hidden = !id;
    if (!id) return this.box.replaceChildren();
    this.lines = new Lines();
    this.busy = null;
    this.title = el("h2", { id: "session-title" }, id);
    this.chip = el("span.chip", {}, "…");
    this.chat = el("a", { href: `/session/${id}` }, "Open the chat");
    this.why = el("ul.why", { "aria-label": "Why is it busy?" }, el("li", {}, "Looking…"));
    this.facts = el("dl.facts", {});
    this.story = el("ol", {}, this.blank());
    this.past = el("ol", {});
    this.box.replaceChildren(
      el("header", {}, this.title, this.chip, this.chat, button("icon", "Close this chat", "close", this.onClose)),
      this.why, this.facts,
      el("h3", { id: "story-title" }, "Its story, as it happens"),
      this.steps = el("div.steps", { tabIndex: 0, role: "region", "aria-labelledby": "story-title" }, this.story),
      el("h3", { id: "past-title" }, "Its turns, from the disk"),
      el("div.steps", { tabIndex: 0, role: "region", "aria-labelledby": "past-title" }, this.past),
    );
    return undefined;
  }

  blank() {
    return el("li.asked", {}, el("div.head", {}, el("b", {}, "Nothing has happened since you began to look.")));
  }

  /** How it stands now. True if a turn of it has ended since the last look. */
  take(now) {
    if (now.gone) {
      this.why.replaceChildren(el("li", {}, "There is no such chat any more."));
      this.facts.replaceChildren();
      this.chip.hidden = this.chat.hidden = true;
      return false;
    }
    if (now.title) this.title.textContent = this.title.title = now.title;
    this.chip.className = now.busy ? "chip on" : "chip";
    this.chip.textContent = now.busy ? "busy" : "idle";
    const said = JSON.stringify(now.why);
    if (this.why.dataset.said !== said) {
      this.why.dataset.said = said;
      this.why.replaceChildren(...now.why.map((text) => el("li", {}, text)));
    }
    this.facts.replaceChildren(...this.figures(now).map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));
    const ended = this.busy && !now.busy;
    if (this.busy !== null && this.busy !== now.busy) this.onBusy(now);
    this.busy = now.busy;
    return ended;
  }

  figures(now) {
    const { actor, turns } = now;
    const running = turns.find((turn) => turn.running_seconds !== null);
    return [
      ["Actor", actor ? actor.state : "put away"],
      actor && ["Mailbox", `${number(actor.depth)} of ${number(actor.capacity)}`],
      actor && ["Handled", number(actor.handled)],
      actor && ["Restarts", number(actor.restarts)],
      ["Messages", number(now.message_count)],
      ["Waiting for a turn", number(now.waiting)],
      running && ["Entries shown", number(running.entries)],
      running && ["Not on disk yet", running.unshown_seconds ? short(running.unshown_seconds) : "nothing"],
    ].filter(Boolean);
  }

  hear(facts) {
    this.lines.take(facts);
    const top = this.steps.scrollTop;
    this.story.replaceChildren(...this.lines.all.toReversed().map(lineNode));
    this.steps.scrollTop = top;
  }

  remember(past) {
    if (past === null) {
      this.past.replaceChildren(el("li.open", {}, el("div.head", {}, el("b", {}, "It is too busy to say."))));
      return;
    }
    this.past.replaceChildren(...past.map((turn) => this.pastTurn(turn)));
    if (!past.length) this.past.append(el("li.asked", {}, el("div.head", {}, el("b", {}, "There was none yet."))));
  }

  pastTurn(turn) {
    const state = ENDED[turn.ended] ?? "bad";
    const entries = Object.entries(turn.entries ?? {}).map(([name, count]) => (count > 1 ? `${name} ×${number(count)}` : name)).join(", ");
    const tokens = turn.input_tokens + turn.output_tokens;
    return el(`li${state && `.${state}`}`, {},
      el("div.head", {}, el("b", {}, turn.seconds === null ? turn.ended : `${turn.ended} after ${short(turn.seconds)}`), turn.at && el("time", {}, clock(turn.at))),
      el("div.path", {}, el("span", {}, "prompt durable"), entries && el("span", {}, `durable and shown: ${entries}`),
        turn.ended !== "running" && el("span", {}, list([turn.answers > 1 && many(turn.answers, "step"), turn.tools && many(turn.tools, "tool call"),
          tokens && `${number(turn.input_tokens)} tokens in, ${number(turn.output_tokens)} out`]) || "in the transcript")));
  }
}
