/** The OpenAPI document as one readable page: no script, no outside resource, nothing but what the document says. */

/** Content-Security-Policy of the page. The search is a plain form that the server answers. */
export const DOCS_PAGE_POLICY =
  "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/** Longest search text that is looked at. */
export const DOCS_SEARCH_MAX_CHARS = 100;

type Json = { readonly [key: string]: unknown };
type Operation = { readonly method: string; readonly path: string; readonly spec: Json };

const STYLE = `
:root { color-scheme: light dark; --line: color-mix(in srgb, currentColor 18%, transparent); }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 64rem; padding: 1rem; }
h2 { border-bottom: 1px solid var(--line); margin-top: 2.5rem; }
h3 { font-size: 1rem; margin: 0.75rem 0 0.25rem; }
code, pre { font: 0.875em/1.45 ui-monospace, monospace; }
pre { border: 1px solid var(--line); border-radius: 4px; overflow: auto; padding: 0.75rem; }
details { border: 1px solid var(--line); border-radius: 4px; margin: 0.5rem 0; padding: 0.5rem 0.75rem; }
summary { cursor: pointer; overflow-wrap: anywhere; }
table { border-collapse: collapse; display: block; overflow-x: auto; }
th, td { border-bottom: 1px solid var(--line); padding: 0.25rem 1rem 0.25rem 0; text-align: left; vertical-align: top; }
nav ul { columns: 20rem; list-style: none; margin: 0; padding: 0; }
nav li { break-inside: avoid; overflow-wrap: anywhere; }
nav a { text-decoration: none; }
nav a:hover { text-decoration: underline; }
form { display: flex; gap: 0.5rem; margin: 1rem 0; }
input { flex: 1; font: inherit; padding: 0.35rem 0.6rem; }
button { font: inherit; padding: 0.35rem 1rem; }
.method { display: inline-block; font-weight: 700; min-width: 4rem; }
nav .method { font-size: 0.75rem; min-width: 3.25rem; }
.muted { opacity: 0.75; }
`;

/** One operation, made once: what it is listed as, what it reads, and what a search finds it by. */
type Entry = {
  readonly tag: string;
  readonly item: string;
  readonly html: string;
  /** Lower case. */
  readonly haystack: string;
};

/**
 * The page of `document` (OpenAPI 3.1), as a function of the search text: operations whose method, path, name, summary,
 * description or fields hold every word of it; all of them when it is empty.
 */
export function docsPage(document: object): (search: string) => string {
  const spec = document as Json;
  const info = asObject(spec['info']);
  const components = asObject(spec['components']);
  const schemas = asObject(components['schemas']);
  const operations = operationsOf(asObject(spec['paths']));
  const tags = tagsOf(spec, operations);
  const about = tagTexts(spec);
  const entries = operations.map((operation) => entryOf(operation, components));
  const shapes = Object.entries(schemas).map(schemaDetails).join('\n');
  return (search) => {
    const words = wordsOf(search);
    const found = entries.filter(({ haystack }) => words.every((word) => haystack.includes(word)));
    const shown = tags
      .map((tag) => ({ tag, own: found.filter((entry) => entry.tag === tag) }))
      .filter(({ own }) => own.length > 0);
    return whole(info, search, [
      note(words, found.length, entries.length),
      `<nav aria-label="Contents">${shown.map(({ tag, own }) => contents(tag, own)).join('\n')}`,
      '<p><a href="#schemas">Schemas</a></p></nav>\n<main>',
      ...shown.map(({ tag, own }) => section(tag, about.get(tag) ?? '', own)),
      `<h2 id="schemas">Schemas</h2>\n${shapes}\n</main>`,
    ]);
  };
}

function whole(info: Json, search: string, body: readonly string[]): string {
  const title = text(info['title']);
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title}</title>
<style>${STYLE}</style>
</head>
<body>
<h1>${title} <span class="muted">${text(info['version'])}</span></h1>
<p>${prose(info['description'])}</p>
<p>The same as data: <a href="openapi.json">openapi.json</a></p>
<form method="get" action="docs" role="search">
<input type="search" name="q" maxlength="${DOCS_SEARCH_MAX_CHARS}" value="${text(search)}" placeholder="Search, e.g. recording, hangup, caller_phone" aria-label="Search operations">
<button>Search</button>
</form>
${body.join('\n')}
</body>
</html>
`;
}

function wordsOf(search: string): string[] {
  return search
    .slice(0, DOCS_SEARCH_MAX_CHARS)
    .toLowerCase()
    .split(/\s+/)
    .filter((word) => word !== '');
}

function note(words: readonly string[], found: number, all: number): string {
  if (words.length === 0) return `<p>${all} operations.</p>`;
  return `<p>${found} of ${all} operations hold “${text(words.join(' '))}”. <a href="docs">Show all</a></p>`;
}

function entryOf(operation: Operation, components: Json): Entry {
  const { method, path, spec } = operation;
  const id = anchor(plain(spec['operationId']));
  const name = `<span class="method">${method}</span> <code>${text(path)}</code>`;
  const html = operationDetails(operation, components);
  const words = html.replace(/<[^>]*>/g, ' ');
  return {
    tag: tagOf(operation),
    item: `<li><a href="#${id}">${name}</a></li>`,
    html,
    haystack: `${method} ${path} ${plain(spec['operationId'])} ${words}`.toLowerCase(),
  };
}

function contents(tag: string, entries: readonly Entry[]): string {
  const items = entries.map(({ item }) => item).join('');
  return `<h3><a href="#${anchor(tag)}">${text(tag)}</a></h3><ul>${items}</ul>`;
}

function section(tag: string, about: string, entries: readonly Entry[]): string {
  const lead = about === '' ? '' : `<p>${prose(about)}</p>\n`;
  return `<h2 id="${anchor(tag)}">${text(tag)}</h2>\n${lead}${entries.map(({ html }) => html).join('\n')}`;
}

function tagTexts(spec: Json): Map<string, string> {
  const tags = asList(spec['tags']).map(asObject);
  return new Map(tags.map((tag) => [plain(tag['name']), plain(tag['description'])]));
}

function operationsOf(paths: Json): Operation[] {
  return Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(asObject(methods)).map(([method, spec]) => ({
      method: method.toUpperCase(),
      path,
      spec: asObject(spec),
    })),
  );
}

/** Tags in the document's order, then those it does not declare. */
function tagsOf(spec: Json, operations: readonly Operation[]): string[] {
  const declared = asList(spec['tags']).map((tag) => plain(asObject(tag)['name']));
  const used = operations.map(tagOf);
  return [...new Set([...declared, ...used])].filter((tag) => used.includes(tag));
}

function tagOf(operation: Operation): string {
  return plain(asList(operation.spec['tags'])[0]) || 'Other';
}

/** The anchor stands inside, so that following a link to it opens the operation. */
function operationDetails(operation: Operation, components: Json): string {
  const { method, path, spec } = operation;
  const capability = text(spec['x-capability']);
  const access =
    capability === 'pub' ? 'No token needed.' : `Needs a token with <code>${capability}</code>.`;
  return `<details>
<summary><span class="method">${method}</span> <code>${text(path)}</code> ${text(spec['summary'])}</summary>
<p id="${anchor(plain(spec['operationId']))}">${prose(spec['description'])} ${access}</p>
${parameters(asList(spec['parameters']))}
${requestBody(asObject(spec['requestBody']))}
<h4>Example</h4><pre>${text(commandOf(operation))}</pre>
${responses(asObject(spec['responses']), components)}
</details>`;
}

/** A request as one would type it. */
function commandOf({ method, path, spec }: Operation): string {
  const json = asObject(asObject(asObject(spec['requestBody'])['content'])['application/json']);
  const [body] = asList(asObject(json['schema'])['examples']);
  const lines = [
    `curl${method === 'GET' ? '' : ` -X ${method}`} "$CALLYARD_URL${path.replace(/\{(\w+)\}/g, '$$$1')}"`,
    ...(plain(spec['x-capability']) === 'pub' ? [] : ['-H "Authorization: Bearer $CALLYARD_KEY"']),
    ...(body === undefined ? [] : [`--json '${JSON.stringify(body).replaceAll("'", "'\\''")}'`]),
  ];
  return lines.join(' \\\n  ');
}

function parameters(list: readonly unknown[]): string {
  if (list.length === 0) return '';
  const rows = list.map(asObject).map((parameter) => {
    const need = parameter['required'] === true ? 'required' : 'optional';
    const schema = asObject(parameter['schema']);
    return row([
      `<code>${text(parameter['name'])}</code>`,
      `${text(parameter['in'])}, ${need}`,
      `<code>${text(typeName(schema))}</code>`,
      prose(parameter['description']),
    ]);
  });
  return `<h4>Parameters</h4><table><tbody>${rows.join('')}</tbody></table>`;
}

function requestBody(body: Json): string {
  const media = Object.entries(asObject(body['content']));
  return media
    .map(([type, content]) => {
      const { schema, example } = asObject(content);
      return `<h4>Body, <code>${text(type)}</code></h4>${fields(asObject(schema))}${exampleOf(asObject(schema), example)}`;
    })
    .join('');
}

function responses(byStatus: Json, components: Json): string {
  const schemas = asObject(components['schemas']);
  const shared = asObject(components['responses']);
  const rows = Object.entries(byStatus).map(([status, given]) => {
    const named = asObject(given);
    const response = typeof named['$ref'] === 'string' ? shared[typeName(named)] : named;
    const { description, content } = asObject(response);
    const [type, media] = Object.entries(asObject(content))[0] ?? ['', {}];
    const schema = asObject(asObject(media)['schema']);
    const isShown = status.startsWith('2') && schema['type'] === 'object';
    const shape = isShown ? `${fields(schema)}${answerExample(schema, schemas)}` : '';
    return row([
      `<code>${text(status)}</code>`,
      `${prose(description)} <span class="muted">${text(type)}</span>${shape}`,
    ]);
  });
  return `<h4>Answers</h4><table><tbody>${rows.join('')}</tbody></table>`;
}

/** The example of an answer: its own, or that of its data, which may stand with a shared schema. */
function answerExample(schema: Json, schemas: Json): string {
  const properties = asObject(schema['properties']);
  const data = asObject(properties['data']);
  const named = typeof data['$ref'] === 'string' ? schemas[typeName(data)] : data;
  const [example] = asList(asObject(named)['examples']);
  if (example === undefined) return exampleOf(schema, undefined);
  return exampleOf(schema, { success: true, data: example });
}

function schemaDetails([name, schema]: [string, unknown]): string {
  const object = asObject(schema);
  return `<details><summary><code>${text(name)}</code></summary>
<div id="schema-${anchor(name)}">${fields(object)}${exampleOf(object, undefined)}</div></details>`;
}

/** The properties of an object as a table; objects inside stand in a table of their own. */
function fields(schema: Json, depth = 0): string {
  const properties = Object.entries(asObject(schema['properties']));
  const required = asList(schema['required']);
  if (properties.length === 0) return `<p><code>${text(typeName(schema))}</code></p>`;
  const rows = properties.map(([name, property]) => {
    const inner = innerObject(asObject(property));
    const nested = inner === null || depth > 3 ? '' : fields(inner, depth + 1);
    return row([
      `<code>${text(name)}</code>${required.includes(name) ? '' : ' <span class="muted">optional</span>'}`,
      `${typeLink(asObject(property))} ${prose(asObject(property)['description'])}${nested}`,
    ]);
  });
  return `<table><tbody>${rows.join('')}</tbody></table>`;
}

/** The object with properties inside a property: itself, its items, or the branch beside null. */
function innerObject(schema: Json): Json | null {
  if (Object.keys(asObject(schema['properties'])).length > 0) return schema;
  if (schema['type'] === 'array') return innerObject(asObject(schema['items']));
  for (const branch of asList(schema['anyOf'])) {
    const inner = innerObject(asObject(branch));
    if (inner !== null) return inner;
  }
  return null;
}

function typeLink(schema: Json): string {
  const name = typeName(schema);
  const target = /^(?:array of )?([A-Z]\w*)/.exec(name)?.[1];
  const code = `<code>${text(name)}</code>`;
  return target === undefined ? code : `<a href="#schema-${anchor(target)}">${code}</a>`;
}

function typeName(schema: Json): string {
  if (typeof schema['$ref'] === 'string') return schema['$ref'].split('/').at(-1) ?? '';
  if (Array.isArray(schema['anyOf'])) {
    return schema['anyOf'].map((branch) => typeName(asObject(branch))).join(' or ');
  }
  if (Array.isArray(schema['enum']))
    return schema['enum'].map((value) => JSON.stringify(value)).join(' | ');
  if ('const' in schema) return JSON.stringify(schema['const']);
  if (schema['type'] === 'array') return `array of ${typeName(asObject(schema['items']))}`;
  return `${plain(schema['type']) || 'any'}${limits(schema)}`;
}

function limits(schema: Json): string {
  const low = schema['minimum'] ?? schema['minLength'];
  const high = schema['maximum'] ?? schema['maxLength'];
  if (low === undefined && high === undefined) return '';
  return ` (${plain(low)}..${plain(high)})`;
}

function exampleOf(schema: Json, given: unknown): string {
  const examples = given === undefined ? asList(schema['examples']) : [given];
  return examples.map((example) => `<pre>${text(JSON.stringify(example, null, 2))}</pre>`).join('');
}

function row(cells: readonly string[]): string {
  return `<tr>${cells.map((cell) => `<td>${cell}</td>`).join('')}</tr>`;
}

/** Text with `code` in backquotes. */
function prose(value: unknown): string {
  return text(value).replace(/`([^`]+)`/g, '<code>$1</code>');
}

function text(value: unknown): string {
  return plain(value)
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
    .replaceAll("'", '&#39;');
}

function plain(value: unknown): string {
  if (typeof value === 'string') return value;
  return value === undefined || value === null ? '' : JSON.stringify(value);
}

function anchor(name: string): string {
  return name.toLowerCase().replace(/[^a-z0-9]+/g, '-');
}

function asObject(value: unknown): Json {
  return typeof value === 'object' && value !== null ? (value as Json) : {};
}

function asList(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}
