// Four figures of the last minute, from counters that only grow.

import { el } from "../js/dom.js";
import { bytes, many } from "../js/format.js";
import { Tile } from "./plot.js";
import { rate, short } from "./words.js";

/** The mean of what was added between two looks; null if nothing was. */
export const meanOf = (now, before) =>
  (now.count > before.count ? (now.total - before.total) / (now.count - before.count) : null);

const keyed = (name, text) => el("span.keyed", {}, el(`span.${name}`), text);

export class Tiles {
  constructor(box) {
    this.before = null;
    this.messages = new Tile("Messages", { least: 10, say: rate });
    this.commits = new Tile("Commit latency", { least: 0.005, say: short });
    this.lag = new Tile("Feed lag", { least: 0.005, say: short });
    this.turns = new Tile("Answers running", { least: 4, say: String });
    box.replaceChildren(this.messages.node, this.commits.node, this.lag.node, this.turns.node);
  }

  /** The next look is not to be compared with the last one. */
  forget() {
    this.before = null;
  }

  take(now) {
    const { before } = this;
    this.before = now;
    const { running, open } = now.turns;
    this.turns.add(running);
    this.turns.show(running.toLocaleString(), null, many(open, "open feed"), el("span.optional", {}, ` · ${bytes(now.journal.bytes)} of journal`));
    if (!before || now.at <= before.at || now.messages < before.messages) return;
    const seconds = now.at - before.at;
    const each = (now.messages - before.messages) / seconds;
    this.messages.add(each);
    this.messages.show(rate(each), "a second", `${now.messages.toLocaleString()} since the start`);
    this.commit(now, before);
    const lag = now.lag.now > 1 ? now.lag.now : meanOf(now.lag, before.lag);
    this.lag.add(lag);
    this.lag.show(lag === null ? null : short(lag), lag === null ? "Nothing to show" : now.lag.now > 1 ? "and counting" : "mean", `longest lately ${short(now.lag.longest)}`);
  }

  commit(now, before) {
    const of = (name) => (now[name].now > 1 ? now[name].now : meanOf(now[name], before[name]));
    const [journal, records] = [of("journal"), of("records")];
    this.commits.add(journal, records);
    const worst = Math.max(journal ?? -1, records ?? -1);
    const stuck = Math.max(now.journal.now, now.records.now) > 1;
    this.commits.show(worst < 0 ? null : short(worst), worst < 0 ? "Nothing to write" : stuck ? "and counting" : "mean",
      keyed("key", `journal ${short(now.journal.median)}`), " ", keyed("key.second", `records ${short(now.records.median)}`));
  }
}
