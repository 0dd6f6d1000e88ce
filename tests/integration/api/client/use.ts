// What a back end does with the API, by a client that knows nothing but the description: make a session, link it, wait
// for a picture, fetch it. Each step is told as one line of JSON on standard output; whoever started us plays the phone.

import createClient from "openapi-fetch";
import { createHash } from "node:crypto";

import type { components, paths } from "./schema.js";

type PairingView = components["schemas"]["PairingView"];

const [url, token, session, phone] = process.argv.slice(2) as [string, string, string, string];
const client = createClient<paths>({ baseUrl: url, headers: { Authorization: `Bearer ${token}` } });
const FINAL: PairingView["state"][] = ["linked", "expired", "refused", "cancelled", "failed"];

function tell(step: string, value: unknown): void {
  console.log(JSON.stringify({ step, value }));
}

// The answer, or the end of this program with the problem that the API explains.
function good<T>(result: { data?: T; error?: components["schemas"]["Problem"]; response: Response }): T {
  if (result.error !== undefined || result.data === undefined) {
    tell("problem", result.error ?? result.response.status);
    process.exit(1);
  }
  return result.data;
}

async function create(): Promise<void> {
  const header = { "Idempotency-Key": `create-${session}` };
  const body = { id: session, name: "From TypeScript" };
  const made = good(await client.POST("/v1/sessions", { params: { header }, body }));
  const again = good(await client.POST("/v1/sessions", { params: { header }, body }));
  tell("created", [made.id, again.id]);
}

async function pair(): Promise<void> {
  let view = good(await client.POST("/v1/pairings", { body: { session, method: "code", phone } }));
  let shown: string | null | undefined;
  while (!FINAL.includes(view.state)) {
    if (view.code && view.code !== shown) {
      shown = view.code;
      tell("code", shown);
    }
    const params = { path: { pairing: view.id }, query: { since: view.updated_at, wait_s: 20 } };
    view = good(await client.GET("/v1/pairings/{pairing}", { params }));
  }
  tell("paired", view.state);
}

async function picture(): Promise<void> {
  for (;;) {
    const page = good(await client.GET("/v1/media", { params: { query: { session, kind: "image" } } }));
    const item = page.items[0];
    if (item !== undefined) {
      const params = { path: { media: item.id } };
      const stored = good(await client.GET("/v1/media/{media}/content", { params, parseAs: "arrayBuffer" }));
      const bytes = Buffer.from(stored as ArrayBuffer);
      tell("picture", { bytes: bytes.length, sha256: createHash("sha256").update(bytes).digest("hex"), id: item.id });
      return;
    }
    await new Promise((resolve) => setTimeout(resolve, 300));
  }
}

await create();
await pair();
await picture();
const refused = await client.POST("/v1/tokens", { body: { name: "more" } });
tell("refused", refused.error?.status);
