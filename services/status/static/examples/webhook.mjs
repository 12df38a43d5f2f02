// Takes Halftone's webhooks and verifies their signatures. Needs Node 20 or newer and `npm install standardwebhooks`.
// WEBHOOK_SECRET is the account's signing secret (`whsec_...`), PORT where to listen.
import { createServer } from "node:http";
import { Webhook } from "standardwebhooks";

const { WEBHOOK_SECRET, PORT = "9000" } = process.env;
const webhook = new Webhook(WEBHOOK_SECRET);

/** The body as it came: the signature is over these bytes. */
async function read(request) {
  const chunks = [];
  let size = 0;
  for await (const chunk of request) {
    size += chunk.length;
    if (size > 1_000_000) throw new Error("an event is some kB");
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

createServer(async (request, response) => {
  try {
    const event = webhook.verify(await read(request), request.headers);
    // A delivery may come twice, with the same webhook-id. Answer soon, and work on it afterwards.
    console.log(`${event.type} ${event.data.request_id} ${request.headers["webhook-id"]}`);
    response.writeHead(204).end();
  } catch (error) {
    console.log(`refused: ${error.message}`);
    response.writeHead(400).end();
  }
}).listen(Number(PORT), "127.0.0.1");
