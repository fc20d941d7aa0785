// Text files that go with a message. The agent reads text, so nothing else can be attached.

import { el, icon } from "./dom.js";
import { bytes } from "./format.js";

export const MOST = 20;
const LARGEST = 256 * 1024;

const isPicture = ({ type }) => type.startsWith("image/") && type !== "image/svg+xml";

/** What the server keeps of a file: {name, size, text}. Throws if it cannot be attached. */
export async function readAttachment(file) {
  const { name, size } = file;
  if (isPicture(file)) throw new Error(`${name} is a picture, and the agent reads text only. Describe what it shows, or attach its text as a file.`);
  if (size > LARGEST) throw new Error(`${name} is too large: ${bytes(size)}. Text files of up to ${bytes(LARGEST)} can be attached.`);
  const data = new Uint8Array(await file.arrayBuffer());
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(data);
    if (text.includes("\0")) throw new Error("binary");
    return { name, size, text };
  } catch {
    throw new Error(`${name} is not a text file. The agent reads text only: copy out what matters.`);
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
  return el("span.file", { title: name }, icon("file"), el("span", {}, name), typeof size === "number" && el("small", {}, bytes(size)), after);
}

export function filesOf(attachments) {
  if (!Array.isArray(attachments) || !attachments.length) return null;
  return el("ul.files", { "aria-label": "Attached files" }, attachments.map((one) => el("li", {}, chip(one))));
}
