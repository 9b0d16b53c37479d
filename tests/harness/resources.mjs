// Calls Blnk's TypeScript client for monitors and identities, and prints what it got as JSON: node resources.mjs FOLDER URL KEY
import { createRequire } from "node:module";

const [folder, baseUrl, key] = process.argv.slice(2);
const { BlnkInit } = createRequire(`${folder}/package.json`)("@blnkfinance/blnk-typescript");
const blnk = BlnkInit(key, { baseUrl, logger: { info() {}, error() {}, debug() {} } });
const seen = {};
const balance = (await blnk.LedgerBalances.create({ ledger_id: "general_ledger_id", currency: "USD" })).data.balance_id;
const condition = { field: "debit_balance", operator: ">", value: 10.5, precision: 100 };
const monitors = blnk.BalanceMonitor;
seen.created = await monitors.create({ balance_id: balance, condition, description: "d" });
const monitor = seen.created.data.monitor_id;
seen.read = await monitors.get(monitor);
seen.listed = await monitors.list();
seen.updated = await monitors.update(monitor, { balance_id: balance, condition: { ...condition, value: 0 } });
seen.deleted = await monitors.delete(monitor);
seen.gone = await monitors.get(monitor);

const people = blnk.Identity;
const person = { identity_type: "individual", first_name: "Ada", last_name: "L.", email_address: "ada@example.com" };
Object.assign(person, { phone_number: "+44 1", nationality: "GB", street: "1 A", country: "GB", state: "", post_code: "N1" });
Object.assign(person, { city: "London", category: "customer", gender: "female", dob: new Date("1990-04-22T00:00:00Z") });
seen.person = await people.create(person);
const identity = seen.person.data.identity_id;
seen.personRead = await people.get(identity);
seen.personListed = await people.list();
seen.personUpdated = await people.update(identity, { ...person, city: "Leeds" });
seen.tokenizedField = await people.tokenizeField(identity, "FirstName");
seen.tokenized = await people.tokenize(identity, { fields: ["LastName"] });
seen.fields = await people.getTokenizedFields(identity);
seen.clearField = await people.detokenizeField(identity, "FirstName");
seen.clear = await people.detokenize(identity, { fields: ["LastName"] });
seen.linked = await blnk.LedgerBalances.updateIdentity(balance, { identity_id: identity });
seen.kept = await people.delete(identity);
console.log(JSON.stringify(seen));
