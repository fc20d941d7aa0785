// What the server shows in place of a key. Whoever sends it back sends just that.

const MARK = "[secret]";

export const reminder = (text) => (text.includes(MARK) ? `Write the secret again where it says ${MARK}.` : "");
