// Who is logged in, and the way out; nothing where nobody has to be.

import { call, logIn } from "./api.js";
import { $ } from "./dom.js";
import { forgetDrafts } from "./drafts.js";
import { openMenu } from "./menu.js";
import { guarded } from "./says.js";

async function look() {
  const { user } = await call("/api/auth/status");
  if (!user) return;
  const account = $("account");
  account.hidden = false;
  account.title = `Logged in as ${user.name}`;
  account.setAttribute("aria-label", `Account: ${user.name}`);
  account.onclick = () => openMenu(account, [
    { label: `Log out ${user.name}`, icon: "turn", run: guarded(async () => {
      await call("/api/auth/logout", {});
      forgetDrafts();
      logIn({ ended: false });
    }) },
  ], { label: "Account" });
}

look().catch(() => {}); // it is looked at again with the next page
