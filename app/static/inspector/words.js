// Times and sizes, short enough for a table. Pure.

export function short(seconds) {
  if (seconds < 0.0995) return `${(seconds * 1000).toFixed(seconds < 0.00995 ? 1 : 0)} ms`;
  if (seconds < 0.9995) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 60) return `${seconds.toFixed(seconds < 9.95 ? 1 : 0)} s`;
  const minutes = Math.floor(seconds / 60);
  return minutes < 60 ? `${minutes} min ${Math.floor(seconds % 60)} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

export const rate = (value) => (value >= 100 ? Math.round(value).toLocaleString() : value.toFixed(value < 10 && value > 0 ? 1 : 0));

export function clockTime(seconds, { millis = false } = {}) {
  const date = new Date(seconds * 1000);
  const time = date.toLocaleTimeString(undefined, { hour12: false });
  return millis ? `${time}.${String(date.getMilliseconds()).padStart(3, "0")}` : time;
}

export const list = (parts) => parts.filter(Boolean).join(" · ");
