// Markdown that a model wrote, as elements. What it says is not trusted: HTML is cut down to plain
// markup, and nothing is loaded. A picture becomes a link, for the reader to open or not.

import { Marked } from "../vendor/marked.js";
import DOMPurify from "../vendor/purify.js";
import { button, el, icon } from "./dom.js";
import { copyText } from "./clipboard.js";

const TAGS = [
  ...["a", "b", "blockquote", "br", "code", "dd", "del", "details", "dl", "dt", "em", "h1", "h2", "h3", "h4", "h5", "h6"],
  ...["hr", "i", "ins", "kbd", "li", "mark", "ol", "p", "pre", "q", "s", "samp", "small", "strong", "sub", "summary", "sup"],
  ...["table", "tbody", "td", "tfoot", "th", "thead", "tr", "u", "ul", "var"],
];
const ATTRIBUTES = ["href", "title", "class", "start", "colspan", "rowspan", "align"];
const LOADED = new Set(["IMG", "VIDEO", "AUDIO", "IFRAME", "EMBED", "OBJECT", "PICTURE", "SOURCE", "SVG"]);
const LANGUAGE = /^language-[\w+#.-]{1,30}$/;
const ADDRESS = /^(https?:|mailto:)/i;

const marked = new Marked({
  gfm: true,
  renderer: { checkbox: ({ checked }) => (checked ? "☑ " : "☐ ") },
});

const purify = DOMPurify(window);

// All this happens in a document that is not shown, in which nothing is loaded.
purify.addHook("beforeSanitizeElements", (node) => {
  if (!LOADED.has(node.nodeName?.toUpperCase()) || !node.parentNode) return;
  const address = node.getAttribute("src") ?? node.getAttribute("data") ?? "";
  const text = node.getAttribute("alt") || address.split(/[?#]/)[0].split("/").pop() || "picture";
  const link = node.ownerDocument.createElement("a");
  link.textContent = `Picture: ${text.slice(0, 120)}`;
  link.className = "picture";
  if (ADDRESS.test(address)) link.setAttribute("href", address);
  node.replaceWith(link);
});
purify.addHook("uponSanitizeAttribute", (node, data) => {
  if (data.attrName === "class") {
    const ours = node.nodeName === "A" && data.attrValue === "picture";
    data.keepAttr = ours || (node.nodeName === "CODE" && LANGUAGE.test(data.attrValue));
  } else if (data.attrName === "href") data.keepAttr = ADDRESS.test(data.attrValue.trim());
});

function clean(html) {
  const fragment = purify.sanitize(html, {
    ALLOWED_TAGS: TAGS,
    ALLOWED_ATTR: ATTRIBUTES,
    ALLOW_DATA_ATTR: false,
    ALLOW_ARIA_ATTR: false,
    RETURN_DOM_FRAGMENT: true,
  });
  for (const link of fragment.querySelectorAll("a")) {
    if (link.hasAttribute("href")) {
      link.target = "_blank";
      link.rel = "noopener noreferrer nofollow";
      if (!link.title) link.title = link.href;
    }
    if (link.classList.contains("picture")) link.prepend(icon("picture"));
  }
  for (const table of fragment.querySelectorAll("table")) {
    const frame = el("div.table", { tabIndex: 0, role: "group", "aria-label": "Table" });
    table.replaceWith(frame);
    frame.append(table);
  }
  for (const code of fragment.querySelectorAll("code")) code.dir = "ltr";
  for (const pre of fragment.querySelectorAll("pre")) dress(pre);
  return fragment;
}

function dress(pre) {
  const code = pre.querySelector("code") ?? pre;
  const language = code.className.replace("language-", "");
  const copy = button("quiet", "Copy", "copy", async () => {
    await copyText(code.textContent);
    copy.lastChild.data = "Copied";
    setTimeout(() => (copy.lastChild.data = "Copy"), 1500);
  });
  copy.setAttribute("aria-label", language ? `Copy ${language} code` : "Copy code");
  const frame = el("div.code", { dir: "ltr" }, el("header", {}, el("span", {}, language || "text"), copy));
  pre.replaceWith(frame);
  pre.tabIndex = 0;
  pre.setAttribute("role", "group");
  pre.setAttribute("aria-label", `${language || "text"} code`);
  frame.append(pre);
}

let highlighter = null;

async function highlight(root) {
  const blocks = [...root.querySelectorAll("pre code[class^=language-]:not([data-highlighted])")];
  if (!blocks.length) return;
  highlighter ??= import("../vendor/highlight.js").then((module) => module.default);
  const hljs = await highlighter;
  for (const block of blocks) {
    const language = block.className.replace("language-", "");
    if (block.dataset.highlighted || !hljs.getLanguage(language) || block.textContent.length > 100_000) continue;
    block.textContent = block.textContent; // what it highlights is text, whatever came in
    hljs.highlightElement(block);
  }
}

/** Text that may grow, in `node`. Only the blocks that changed are made again. */
export class Prose {
  constructor(node) {
    this.node = node;
    this.blocks = []; // {raw, node}
  }

  show(text, finished) {
    const tokens = marked.lexer(text).filter((token) => token.type !== "space");
    const links = JSON.stringify(tokens.links ?? {});
    let same = 0;
    if (links === this.links) {
      while (same < this.blocks.length && same < tokens.length && this.blocks[same].raw === tokens[same].raw) same++;
    }
    this.links = links;
    for (const block of this.blocks.splice(same)) block.node.remove();
    for (const token of tokens.slice(same)) {
      const one = Object.assign([token], { links: tokens.links ?? {} });
      const node = el("div.block", { dir: "auto" });
      node.append(clean(marked.parser(one)));
      this.node.append(node);
      this.blocks.push({ raw: token.raw, node });
    }
    const settled = finished ? this.blocks.length : this.blocks.length - 1;
    for (const block of this.blocks.slice(0, Math.max(0, settled))) {
      if (block.done) continue;
      block.done = true;
      highlight(block.node);
    }
    this.node.classList.toggle("writing", !finished);
  }
}

export function prose(text) {
  const node = el("div.prose");
  new Prose(node).show(text, true);
  return node;
}
