// What answers: which agent, whether it is ready, and how to have another one.

import { at, call } from "./api.js";
import { $, el } from "./dom.js";
import { told } from "./dialogs.js";

const LOOK_MS = 1000;

const NAMES = { demo: "Demo agent", local: "Model on this machine", openai: "Provider" };

const CHOICES = [
  ["A small model on this machine", "greenroom --agent local"],
  ["A model file of yours", "greenroom --model FILE.gguf"],
  ["Ollama, vLLM, llama.cpp, or anything with OpenAI's API", "greenroom --base-url http://localhost:11434/v1 --model NAME"],
  ["OpenAI, with your key", "OPENAI_API_KEY=... greenroom --model NAME"],
  ["The demo agent, a script", "greenroom --agent demo"],
];

export class Agent {
  constructor(onChange) {
    this.status = null;
    this.onChange = onChange;
    $("agent").onclick = () => this.explain();
  }

  get ready() {
    return !this.status || this.status.state === "ready";
  }

  get name() {
    return this.status?.model || NAMES[this.status?.agent] || "Agent";
  }

  async look() {
    clearTimeout(this.timer);
    try {
      this.status = (await call("/health")).agent;
    } catch (error) {
      this.status = error.data?.agent ?? this.status;
    }
    this.show();
    if (!this.ready) this.timer = setTimeout(() => this.look(), LOOK_MS);
  }

  show() {
    if (!this.status) return;
    const { state } = this.status;
    const said = JSON.stringify(this.status);
    if (said === this.said) return;
    this.said = said;
    $("agent").dataset.state = this.ready ? "ready" : state === "failed" ? "failed" : "loading";
    $("agent").replaceChildren(el("span", {}, this.name));
    $("agent").setAttribute("aria-label", `${this.name}: what answers, and how to change it`);
    this.showLoading();
    this.onChange();
  }

  showLoading() {
    const { state, progress, detail } = this.status;
    const box = $("loading");
    box.hidden = this.ready;
    box.classList.toggle("failed", state === "failed");
    if (this.ready) return;
    if (state === "failed") {
      box.replaceChildren(el("p", { role: "alert" }, `The model cannot be used: ${detail}`),
        el("small", {}, "Send a message to try again, or choose another agent: the button at the bottom of the list says how."));
      return;
    }
    const percent = typeof progress === "number" ? Math.round(progress * 100) : null;
    const bar = el("progress", { max: 100, "aria-label": detail });
    if (percent !== null) bar.value = percent;
    box.replaceChildren(
      el("p", {}, el("span", {}, `${detail}…`), percent !== null && el("span", {}, `${percent} %`)), bar,
      el("small", {}, "You can write already: your message is answered as soon as the model is ready."));
  }

  describe() {
    if (!this.status) return "";
    const { agent, model, detail } = this.status;
    if (agent === "demo") return "It answers by a script, so that you can look around. It is no model.";
    if (agent === "local") return `${model} runs on this machine. Nothing you write leaves it.`;
    return detail;
  }

  explain() {
    const rows = CHOICES.map(([what, command]) => el("tr", {}, el("th", { scope: "row" }, what), el("td", {}, el("code", {}, command))));
    told("What answers",
      el("p", {}, el("strong", {}, this.name), ` is on. ${this.describe()}`),
      el("p", {}, "To have another one, stop the server and start it again with one of these. Your chats stay."),
      el("table", {}, el("tbody", {}, rows)));
  }
}

/** What stands where no chat is open. */
export function welcome(agent, first, onTry) {
  const box = $("welcome");
  const tries = agent.status?.agent === "demo"
    ? ["What can you do?", "Write something long and slow", "Show me an error", "Tell me about tools"]
    : ["Explain what a mailbox is to an actor, in three sentences", "Write a Python function that parses a duration like “1h 30m”",
      "Help me plan a quiet weekend by the sea", "What makes a good commit message?"];
  const parts = [];
  if (first) {
    parts.push(el("img", { src: at("/static/icon.svg"), alt: "", width: 52, height: 52 }),
      el("h2", {}, "Welcome to Greenroom"),
      el("p", {}, "What you see here is saved before you see it. Reload, close the lid, or kill the server in the middle of an answer: you go on where you were."));
  } else parts.push(el("h2", {}, "What is on your mind?"), el("p", {}, "Write below to begin a new chat, or choose one from the list."));
  if (agent.status) {
    const change = el("button", { type: "button", onclick: () => agent.explain() }, "Change it");
    parts.push(el("div.who", {}, el("div", {}, el("strong", {}, `${agent.name} answers`), el("span", {}, agent.describe())), change));
  }
  parts.push(el("h3", {}, "To begin with"),
    el("ul.tries", {}, tries.map((text) => el("li", {}, el("button", { type: "button", onclick: () => onTry(text) }, text)))));
  box.replaceChildren(...parts);
}

