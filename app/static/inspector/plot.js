// A small live plot: the last minute, a point a second, one or two lines.

import { el } from "../js/dom.js";

const SVG = "http://www.w3.org/2000/svg";
const POINTS = 60;
const WIDTH = 240;
const HEIGHT = 60;

const shape = (name, attributes) => {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  return node;
};

/** The commands of a path through the values; a null lifts the pen. */
export function path(values, most) {
  let down = false;
  return values.map((value, index) => {
    if (value === null) {
      down = false;
      return "";
    }
    const x = ((index + POINTS - values.length) * WIDTH) / (POINTS - 1);
    const y = HEIGHT - (value / most) * (HEIGHT - 4);
    const command = `${down ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`;
    const alone = !down && (values[index + 1] ?? null) === null ? "h.01" : "";
    down = true;
    return command + alone;
  }).join("");
}

export class Tile {
  /** `least`: what the plot's height stands for at least, so that noise stays small. */
  constructor(title, { least, say }) {
    this.least = least;
    this.say = say;
    this.series = [[], []];
    this.area = shape("path", { class: "area" });
    this.lines = [shape("path", { class: "line" }), shape("path", { class: "line second" })];
    const svg = shape("svg", { class: "plot", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" });
    svg.append(this.area, ...this.lines);
    this.value = el("p.value", {}, "–");
    this.more = el("p.more", {}, " ");
    this.peak = el("span.peak", { "aria-hidden": "true" });
    this.node = el("article.tile", {}, el("h2", {}, title), this.value, svg, this.more, this.peak);
  }

  add(...values) {
    values.forEach((value, index) => {
      this.series[index].push(value);
      if (this.series[index].length > POINTS) this.series[index].shift();
    });
    const known = this.series.flat().filter((value) => value !== null);
    const top = Math.max(0, ...known);
    const most = Math.max(this.least, top);
    this.series.forEach((values, index) => this.lines[index].setAttribute("d", path(values, most)));
    const first = this.series[0];
    const whole = first.length > 1 && first.every((value) => value !== null);
    const from = ((POINTS - first.length) * WIDTH) / (POINTS - 1);
    this.area.setAttribute("d", whole ? `${path(first, most)}L${WIDTH} ${HEIGHT}L${from.toFixed(1)} ${HEIGHT}Z` : "");
    this.peak.textContent = known.length ? `peak ${this.say(top)}` : "";
  }

  /** No value: `unit` says why. */
  show(value, unit, ...more) {
    this.value.classList.toggle("nothing", value === null);
    if (value === null) this.value.replaceChildren(unit);
    else this.value.replaceChildren(value, ...(unit ? [el("small", {}, unit)] : []));
    this.more.replaceChildren(...more);
  }
}
