// The official JavaScript client, driven by test_javascript.py: one command, a JSON line for each thing it gets.
import { createRequire } from "node:module";

const [packages, baseURL, command, argument] = process.argv.slice(2);
const { OpenAI } = createRequire(`${packages}/node_modules/`)("openai");
const client = new OpenAI({ baseURL, apiKey: "any", maxRetries: 0 });
const asked = JSON.parse(argument ?? "{}");
const tell = (thing) => process.stdout.write(`${JSON.stringify(thing)}\n`);
const tellAll = async (stream) => {
  for await (const thing of stream) tell(thing);
};

const commands = {
  stream: async () => tellAll(await client.responses.create({ ...asked, stream: true })),
  resume: async () => {
    const { id, ...query } = asked;
    await tellAll(await client.responses.retrieve(id, { ...query, stream: true }));
  },
  whole: async () => {
    const response = await client.responses.create(asked);
    tell({ ...response, output_text: response.output_text });
  },
  chat: async () => tellAll(await client.chat.completions.create({ ...asked, stream: true })),
  converse: async () => {
    const made = await client.conversations.create({ items: asked.items });
    tell(made);
    await tellAll(client.conversations.items.list(made.id, { order: "asc", limit: 1 }));
    tell(await client.conversations.delete(made.id));
  },
  refused: async () => {
    try {
      await client.responses.create(asked);
    } catch (error) {
      tell({ name: error.constructor.name, status: error.status, code: error.code, param: error.param });
    }
  },
};

await commands[command]();
