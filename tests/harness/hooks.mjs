// Calls Blnk's TypeScript client for hooks, and prints what it got as JSON: node hooks.mjs FOLDER URL KEY
import { createRequire } from "node:module";

const [folder, baseUrl, key] = process.argv.slice(2);
const { BlnkInit } = createRequire(`${folder}/package.json`)("@blnkfinance/blnk-typescript");
const hooks = BlnkInit(key, { baseUrl, logger: { info() {}, error() {}, debug() {} } }).Hooks;
const seen = {};
const asked = { name: "Till", url: "https://receiver.example/ts", type: "PRE_TRANSACTION", active: true, timeout: 30, retry_count: 3 };
seen.created = await hooks.create(asked);
const hook = seen.created.data.id;
seen.read = await hooks.get(hook);
seen.listed = await hooks.list();
seen.byType = await hooks.list({ type: "PRE_TRANSACTION" });
seen.updated = await hooks.update(hook, { ...asked, active: false });
seen.deleted = await hooks.delete(hook);
seen.gone = await hooks.get(hook);
console.log(JSON.stringify(seen));
