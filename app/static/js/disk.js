// A disk that takes long: the page says so. It asks only while something else takes long.

import { call } from "./api.js";
import { $ } from "./dom.js";
import { duration } from "./format.js";
import { announce } from "./says.js";

const SLOW = 2; // seconds
const AGAIN_MS = 1000;

let looking = false;
let timer = null;

/** Something takes long: is it the disk? If so, look until it is over. */
export async function suspectDisk() {
  if (looking) return;
  looking = true;
  clearTimeout(timer);
  let seconds = 0;
  try {
    ({ saving_seconds: seconds } = await call("/health"));
  } catch {
    // That is told where the connection is.
  }
  looking = false;
  const box = $("disk");
  const slow = seconds >= SLOW;
  if (slow) {
    box.textContent = `The server has been waiting for its disk for ${duration(seconds)}. What you see is saved. What you do now takes effect when the disk answers.`;
    timer = setTimeout(suspectDisk, AGAIN_MS);
  }
  if (slow === box.hidden) announce(slow ? box.textContent : "The disk answers again.");
  box.hidden = !slow;
}
