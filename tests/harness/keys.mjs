// Manages keys with Blnk's TypeScript client, and prints what it got as JSON: node keys.mjs FOLDER URL KEY OWNER
import { createRequire } from "node:module";

const [folder, baseUrl, master, owner] = process.argv.slice(2);
const { BlnkInit } = createRequire(`${folder}/package.json`)("@blnkfinance/blnk-typescript");
const silent = { info() {}, error() {}, debug() {} };
const open = (key) => BlnkInit(key, { baseUrl, logger: silent });
const seen = {};
const blnk = open(master);
const expires_at = new Date(Date.now() + 86_400_000).toISOString().slice(0, 19) + "Z";
const scopes = ["ledgers:read", "transactions:write"];
seen.created = await blnk.ApiKeys.create({ name: "till", owner, scopes, expires_at });
const holder = open(seen.created.data.key);
seen.allowed = await holder.Ledgers.get("general_ledger_id");
seen.denied = await holder.Ledgers.create({ name: "L", meta_data: {} });
seen.listed = await blnk.ApiKeys.list({ owner });
seen.misspelt = await blnk.ApiKeys.create({ name: "till", owner, scopes: ["transaction:write"], expires_at });
seen.deleted = await blnk.ApiKeys.delete(seen.created.data.api_key_id, { owner });
seen.after = await blnk.ApiKeys.list({ owner });
seen.unknown = await blnk.ApiKeys.delete("api_key_00000000-0000-0000-0000-000000000000", { owner });
console.log(JSON.stringify(seen));
