/** Writes sdk/openapi.json, from which the client's types are generated (`npm run sdk`). No handler runs for it. */
import { writeFileSync } from 'node:fs';
import { makeApi, makeFakes } from '../test/unit/_api-fakes.ts';

/** With a secret of its own the facade also has the login route, as an installation by default. */
const jwt = {
  key: { kind: 'secret', secret: new Uint8Array(32) },
  issuer: null,
  audience: null,
} as const;

const app = await makeApi(makeFakes(), { version: '1', jwt });
const text = `${JSON.stringify(app.swagger(), null, 1)}\n`;
await app.close();
writeFileSync(new URL('../sdk/openapi.json', import.meta.url), text);
