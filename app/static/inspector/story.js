// A session's story: facts, joined to lines, each from its command to what readers were shown.

import { el } from "../js/dom.js";
import { clockTime, short } from "./words.js";

const MOST = 200;
const STEPS = ["command", "event", "durable", "shown"];

/** Lines of the facts, the oldest first; writes of the same kind, one after the other, are one. */
export class Lines {
  constructor() {
    this.all = [];
    this.byId = new Map();
  }

  take(facts) {
    for (const fact of facts) {
      let line = this.byId.get(fact.line);
      if (!line) {
        if (fact.step === "durable" || fact.step === "shown") continue; // it began before we looked
        line = this.began(fact);
      }
      if (fact.step === "event") {
        line.event = fact.name;
        if (fact.stream_id) Object.assign(line, { streamId: fact.stream_id, last: fact.last });
      }
      if (fact.step === "command") line.command = fact.name;
      if (line.writes > 1) this.again(line, fact);
      else line.at[fact.step] = fact.at;
      if (fact.step === "shown") this.byId.delete(fact.line);
    }
    this.all.splice(0, Math.max(0, this.all.length - MOST));
  }

  began(fact) {
    const before = this.all.at(-1);
    if (before?.streamId && before.streamId === fact.stream_id && before.event === fact.name) {
      before.writes += 1;
      before.latest = fact.at;
      this.byId.set(fact.line, before);
      return before;
    }
    const line = { at: {}, writes: 1, slowest: 0, first: fact.first };
    this.all.push(line);
    this.byId.set(fact.line, line);
    return line;
  }

  again(line, fact) {
    if (fact.step === "event") line.pending = fact.at;
    if (fact.step === "durable" && line.pending) line.slowest = Math.max(line.slowest, fact.at - line.pending);
    if (fact.step === "shown") line.pending = null;
  }
}

function took(line, step) {
  const before = STEPS.slice(0, STEPS.indexOf(step)).findLast((one) => line.at[one] !== undefined);
  return before === undefined ? null : line.at[step] - line.at[before];
}

function pathOf(line) {
  const spans = STEPS.filter((step) => line.at[step] !== undefined).map((step) => {
    const seconds = took(line, step);
    return el("span", {}, seconds === null ? step : `${step} +${short(Math.max(0, seconds))}`);
  });
  if (line.at.event !== undefined && line.at.durable === undefined) spans.push(el("span.missing", {}, "waits for the disk"));
  if (line.writes > 1) spans.push(el("span", {}, `${line.writes} writes, slowest ${short(Math.max(line.slowest, (line.at.durable ?? 0) - (line.at.event ?? 0), 0))}`));
  return el("div.path", {}, spans);
}

export function lineNode(line) {
  const state = line.event === undefined ? ".asked" : line.at.durable === undefined || line.pending ? ".open" : "";
  const named = [line.command, line.event].filter(Boolean).join(" → ");
  const entries = line.streamId ? (line.first === line.last ? ` #${line.first}` : ` #${line.first}–${line.last}`) : "";
  const at = line.at.command ?? line.at.event;
  return el(`li${state}`, {}, el("div.head", {}, el("b", {}, named + entries), el("time", {}, clockTime(at, { millis: true }))), pathOf(line));
}
