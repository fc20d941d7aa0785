// Where each row of the list stands, and under which heading. Pure.

import { dayName } from "./format.js";

export const ROW = 38; // pixels
export const HEADING = 34;
const FOUND_ROW = 54;

/** Rows and headings, each with its place. */
export function laidOut(rows, { found = false } = {}) {
  const entries = [];
  let top = 0;
  let heading = null;
  const add = (entry, height) => {
    entries.push({ ...entry, top, height });
    top += height;
  };
  rows.forEach((row, index) => {
    const group = found ? null : row.pinned ? "Pinned" : dayName(row.last_message_at ?? 0);
    if (group !== heading) {
      heading = group;
      add({ key: `group ${group}`, heading: group }, HEADING);
    }
    add({ key: row.session_id, row, index }, found ? FOUND_ROW : ROW);
  });
  return { entries, height: top };
}
