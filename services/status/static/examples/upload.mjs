// Uploads products.csv, waits for its end and saves the output CSV. Needs Node 20 or newer.
import { readFile, writeFile } from "node:fs/promises";

const { HALFTONE_URL = "http://127.0.0.1:8080", HALFTONE_API_KEY } = process.env;
const headers = HALFTONE_API_KEY ? { Authorization: `Bearer ${HALFTONE_API_KEY}` } : {};

async function call(path, options = {}) {
  const answer = await fetch(new URL(path, HALFTONE_URL), { headers, ...options });
  if (answer.ok) return answer;
  const problem = await answer.json();
  throw new Error(`${problem.detail} See ${new URL(problem.type, HALFTONE_URL)}`);
}

const form = new FormData();
form.set("file", new Blob([await readFile("products.csv")]), "products.csv");
form.set("quality", "60");
let request = await (await call("/v1/requests", { method: "POST", body: form })).json();
while (request.finished_at === null) {
  await new Promise((done) => setTimeout(done, 1000));
  request = await (await call(request.links.self)).json();
}
await writeFile("output.csv", await (await call(request.links.output_csv)).text());
console.log(`${request.status}: ${request.images.completed} of ${request.images.total} images`);
