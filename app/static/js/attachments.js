// Text files that go with a message. The agent reads text, so nothing else can be attached.

import { el, icon } from "./dom.js";
import { bytes } from "./format.js";

export const MOST = 20;
const LARGEST = 256 * 1024;

/** What the server keeps of a file: {name, size, text}. Throws if it cannot be attached. */
export async function readAttachment(file) {
  if (file.size > LARGEST) throw new Error(`${file.name} is too large: ${bytes(file.size)}, and ${bytes(LARGEST)} is the most.`);
  const data = new Uint8Array(await file.arrayBuffer());
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(data);
    if (text.includes("\0")) throw new Error("binary");
    return { name: file.name, size: file.size, text };
  } catch {
    throw new Error(`${file.name} is not a text file. The agent reads text only: copy out what matters.`);
  }
}

/** An exported chat in a file, or null. */
export async function chatIn(file) {
  if (!/\.json$/i.test(file.name)) return null;
  try {
    const chat = JSON.parse(await file.text());
    return Array.isArray(chat?.messages) ? chat : null;
  } catch {
    return null;
  }
}

export function chip(attachment, after = null) {
  const name = typeof attachment === "string" ? attachment : (attachment?.name ?? attachment?.path ?? "file");
  const size = attachment?.size;
  return el("span.file", { title: name }, icon("file"), el("span", {}, name), size && el("small", {}, bytes(size)), after);
}

export function filesOf(attachments) {
  if (!Array.isArray(attachments) || !attachments.length) return null;
  return el("ul.files", { "aria-label": "Attached files" }, attachments.map((one) => el("li", {}, chip(one))));
}
