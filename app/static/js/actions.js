// What one can do with a whole chat, from its menu in the list or at its head.

import { at, call, newKey, query } from "./api.js";
import { chatIn } from "./attachments.js";
import { button, el, icon } from "./dom.js";
import { askText, buttons, confirmed, dialog } from "./dialogs.js";
import { tokens } from "./format.js";
import { guarded, problem, toast } from "./says.js";

const LOOK_MS = 700;

export class Actions {
  constructor({ chat, list, onOpen, onBlank }) {
    this.chat = chat;
    this.list = list;
    this.onOpen = onOpen;
    this.onBlank = onBlank;
  }

  /** `row`: session_id, title, pinned, archived, project_id. */
  entries(row) {
    const act = (method, ...args) => guarded(() => this[method](row, ...args));
    const open = row.session_id === this.chat.id;
    const { input_tokens: input = 0, output_tokens: output = 0, usage_estimated: estimated } = (open && this.chat.session) || {};
    return [
      { label: "Rename", icon: "edit", run: act("rename") },
      { label: "Suggest a title", icon: "retry", run: act("suggest") },
      { label: row.pinned ? "Unpin" : "Pin to the top", icon: "pin", run: act("pin") },
      { label: "Move to a project", icon: "folder", run: act("move") },
      { label: row.archived ? "Back to the list" : "Archive", icon: "archive", run: act("archive") },
      "-",
      open && { label: "Undo the last exchange", icon: "undo", run: guarded(() => this.chat.undo()) },
      open && this.chat.session?.grants?.length > 0 && { label: "Allowed tools", icon: "check", run: act("grants") },
      open && { label: "Summarise for the model", icon: "zip", run: act("compress") },
      { label: "Why is it busy?", icon: "info", run: () => location.assign(at(query("/inspector", { session_id: row.session_id }))) },
      { label: "Duplicate", icon: "copy", run: act("duplicate") },
      { label: "Export as HTML", icon: "download", run: act("export", "html") },
      { label: "Export as JSON", icon: "download", run: act("export", "json") },
      "-",
      { label: "Delete", icon: "trash", bad: true, run: act("remove") },
      open && input + output > 0 && { text: `Last answer: ${tokens(input, output, estimated)}` },
    ];
  }

  async change(path, row, body) {
    const answer = await call(`/api/session/${path}`, { session_id: row.session_id, ...body });
    this.list.refresh();
    return answer;
  }

  async rename(row) {
    const title = await askText("Rename the chat", { label: "Title", value: row.title === "Untitled" ? "" : row.title });
    if (title) await this.change("rename", row, { title });
    if (title && row.session_id === this.chat.id) await this.chat.reload();
  }

  async suggest(row) {
    const { title } = await this.change("title/regenerate", row, { prefer_latest: false });
    toast(`It is called “${title}” now.`);
  }

  async pin(row) {
    await this.change("pin", row, { pinned: !row.pinned });
  }

  async archive(row) {
    const archived = !row.archived;
    await this.change("archive", row, { archived });
    toast(archived ? "Archived. You find it under “Archived” above the list." : "Back in the list.",
      { action: archived ? { label: "Undo", run: guarded(() => this.change("archive", row, { archived: false })) } : null });
  }

  async remove(row) {
    const sure = await confirmed("Delete this chat?", `“${row.title}” and all that was said in it will be gone for good.`, "Delete");
    if (!sure) return;
    const open = row.session_id === this.chat.id;
    if (open) this.onBlank();
    await this.change("delete", row, {});
    toast("Deleted.");
  }

  async duplicate(row) {
    const { session } = await call("/api/session/duplicate", { session_id: row.session_id }, { key: newKey() });
    this.list.refresh();
    await this.onOpen(session.session_id);
  }

  async branch(keep) {
    const { session_id: id } = await call("/api/session/branch", { session_id: this.chat.id, keep_count: keep }, { key: newKey() });
    this.list.refresh();
    await this.onOpen(id);
    toast("This is a new chat. The one it came from is unchanged.");
  }

  export(row, format) {
    const link = el("a", { href: at(query("/api/session/export", { session_id: row.session_id, format })), download: "" });
    document.body.append(link);
    link.click();
    link.remove();
  }

  async compress(row) {
    const id = row.session_id;
    await call("/api/session/compress/start", { session_id: id, focus_topic: "" });
    const close = toast("The model summarises what is old. Nothing you said is lost.");
    let state = { status: "running" };
    while (state.status === "running") {
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
      state = await call(query("/api/session/compress/status", { session_id: id }));
    }
    close();
    toast("Summarised: the model sees less, you see everything.");
    await this.chat.reload();
  }

  /** Tools that the reader has allowed for the chat: any can be asked for again. */
  async grants(row) {
    const { session } = await call(query("/api/session", { session_id: row.session_id, messages: 0 }));
    await dialog("Allowed in this chat", (close) => {
      const list = el("ul.rows");
      const show = (grants) => {
        list.replaceChildren(...grants.map(({ tool }) => el("li", {}, el("span", {}, tool),
          button("", "Ask again", null, guarded(async () => {
            const left = await call("/api/approval/revoke", { session_id: row.session_id, tool }, { key: newKey() });
            show(left.grants);
            (list.querySelector("button") ?? done).focus();
          }), { "aria-label": `Ask again before ${tool} is called` }))));
        if (!grants.length) list.replaceChildren(el("li", {}, el("span", {}, "None: you are asked each time.")));
      };
      const done = button("", "Close", null, () => close());
      show(session.grants);
      return [el("p", {}, "The model calls these tools without asking you."), list, buttons(done)];
    });
    await this.chat.reload();
  }

  // -- projects -----------------------------------------------------------------------------

  async move(row) {
    const { projects } = await call("/api/projects");
    const chosen = await dialog("Move to a project", (close) => {
      const select = el("select", { id: "project" },
        el("option", { value: "" }, "No project"),
        projects.map((project) => el("option", { value: project.project_id }, project.name)),
        el("option", { value: "new" }, "A new project…"));
      select.value = row.project_id ?? (projects.length ? "" : "new");
      const name = el("input", { type: "text", id: "project-name", maxLength: 128, autocomplete: "off" });
      const naming = el("div", {}, el("label", { htmlFor: "project-name" }, "Its name"), name);
      const look = () => { naming.hidden = select.value !== "new"; name.required = !naming.hidden; };
      select.onchange = () => { look(); if (!naming.hidden) name.focus(); };
      look();
      const form = el("form", {}, el("label", { htmlFor: "project" }, "Project"), select, naming,
        buttons(button("", "Cancel", null, () => close()), el("button.primary", { type: "submit" }, "Move")));
      form.onsubmit = (event) => {
        event.preventDefault();
        close({ id: select.value, name: name.value.trim() });
      };
      return form;
    });
    if (!chosen) return;
    let id = chosen.id;
    if (id === "new") ({ project: { project_id: id } } = await call("/api/projects/create", { name: chosen.name }, { key: newKey() }));
    await this.change("move", row, { project_id: id || null });
  }

  async projects() {
    await dialog("Projects", (close) => {
      const list = el("ul.rows");
      const name = el("input", { type: "text", id: "new-project", maxLength: 128, required: true, autocomplete: "off", placeholder: "Research" });
      const wrong = el("p.problem", { role: "alert", hidden: true });
      const show = async () => {
        const { projects } = await call("/api/projects");
        list.replaceChildren(...projects.map((project) => el("li", {}, icon("folder"), el("span", {}, project.name),
          button("icon", `Rename ${project.name}`, "edit", tried(async () => {
            const title = await askText("Rename the project", { label: "Name", value: project.name, maxLength: 128 });
            if (title) await call("/api/projects/rename", { project_id: project.project_id, name: title });
          })),
          button("icon", `Delete ${project.name}`, "trash", tried(async () => {
            const sure = await confirmed("Delete this project?", `Its chats stay, in no project.`, "Delete the project");
            if (sure) await call("/api/projects/delete", { project_id: project.project_id });
          })))));
        if (!projects.length) list.replaceChildren(el("li", {}, el("span", {}, "There are none yet.")));
        this.list.refresh();
      };
      const tried = (work) => async () => {
        try {
          await work();
          wrong.hidden = true;
          await show();
        } catch (error) {
          wrong.textContent = error.message;
          wrong.hidden = false;
        }
      };
      const form = el("form", {}, el("label", { htmlFor: "new-project" }, "A new project"),
        el("div.inline", {}, name, el("button.primary", { type: "submit" }, "Add")));
      form.onsubmit = (event) => {
        event.preventDefault();
        tried(async () => {
          await call("/api/projects/create", { name: name.value.trim() }, { key: newKey() });
          name.value = "";
        })();
      };
      show().catch(problem);
      return [el("p", {}, "Projects are folders for chats. Put a chat in one from its menu."), list, form, wrong,
        buttons(button("", "Close", null, () => close()))];
    });
  }

  // -- import -------------------------------------------------------------------------------

  /** Files that were dropped or chosen: chats are imported, the others given back. */
  async take(files) {
    const others = [];
    for (const file of files) {
      const chat = await chatIn(file);
      if (!chat) {
        others.push(file);
        continue;
      }
      const { session } = await call("/api/session/import", JSON.stringify(chat), { key: newKey(), raw: true });
      this.list.refresh();
      await this.onOpen(session.session_id);
      toast(`Imported “${session.title}”.`);
    }
    return others;
  }
}
