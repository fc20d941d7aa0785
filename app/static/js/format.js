// Times and numbers, as a person says them. Pure.

const day = (date) => new Date(date.getFullYear(), date.getMonth(), date.getDate());

/** The heading under which a time is listed: by day for a week, then by month. */
export function dayName(seconds, now = new Date()) {
  const then = new Date(seconds * 1000);
  const days = Math.round((day(now) - day(then)) / 86_400_000);
  if (days <= 0) return "Today";
  if (days === 1) return "Yesterday";
  if (days < 7) return then.toLocaleDateString(undefined, { weekday: "long" });
  return then.toLocaleDateString(undefined, { month: "long", year: "numeric" });
}

export function clock(seconds) {
  return new Date(seconds * 1000).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
}

/** Without the day, if that is today. */
export function clockToday(seconds, now = new Date()) {
  const then = new Date(seconds * 1000);
  return day(then) - day(now) ? clock(seconds) : then.toLocaleTimeString(undefined, { timeStyle: "short" });
}

export function duration(seconds) {
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 60) return `${Math.round(seconds)} s`;
  return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
}

export function bytes(count) {
  if (count < 1024) return `${count} B`;
  return count < 1024 * 1024 ? `${Math.round(count / 1024)} kB` : `${(count / 1024 / 1024).toFixed(1)} MB`;
}

export const number = (count) => count.toLocaleString();
export const many = (count, one) => `${number(count)} ${one}${count === 1 ? "" : "s"}`;

/** What an answer took: "about" where nobody has counted. */
export const tokens = (input, output, estimated) => `${estimated ? "about " : ""}${many(input, "token")} in, ${many(output, "token")} out`;
