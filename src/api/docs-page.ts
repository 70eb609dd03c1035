/** The OpenAPI document as one readable page: no script, no outside resource, nothing but what the document says. */

/** Content-Security-Policy of the page. */
export const DOCS_PAGE_POLICY =
  "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

type Json = { readonly [key: string]: unknown };
type Operation = { readonly method: string; readonly path: string; readonly spec: Json };

const STYLE = `
:root { color-scheme: light dark; --line: color-mix(in srgb, currentColor 18%, transparent); }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 60rem; padding: 1rem; }
h2 { border-bottom: 1px solid var(--line); margin-top: 2.5rem; }
code, pre { font: 0.875em/1.45 ui-monospace, monospace; }
pre { border: 1px solid var(--line); border-radius: 4px; overflow: auto; padding: 0.75rem; }
details { border: 1px solid var(--line); border-radius: 4px; margin: 0.5rem 0; padding: 0.5rem 0.75rem; }
summary { cursor: pointer; overflow-wrap: anywhere; }
table { border-collapse: collapse; display: block; overflow-x: auto; }
th, td { border-bottom: 1px solid var(--line); padding: 0.25rem 1rem 0.25rem 0; text-align: left; vertical-align: top; }
.method { display: inline-block; font-weight: 700; min-width: 4rem; }
.muted { opacity: 0.75; }
`;

/** HTML of `document` (OpenAPI 3.1). */
export function docsPage(document: object): string {
  const spec = document as Json;
  const info = asObject(spec['info']);
  const operations = operationsOf(asObject(spec['paths']));
  const schemas = asObject(asObject(spec['components'])['schemas']);
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
<nav aria-label="Contents"><ul>
${tagsOf(spec, operations).map(contentsItem).join('\n')}
<li><a href="#schemas">Schemas</a></li>
</ul></nav>
<main>
${tagsOf(spec, operations)
  .map((tag) => section(tag, operations))
  .join('\n')}
<h2 id="schemas">Schemas</h2>
${Object.entries(schemas).map(schemaDetails).join('\n')}
</main>
</body>
</html>
`;
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

function contentsItem(tag: string): string {
  return `<li><a href="#${anchor(tag)}">${text(tag)}</a></li>`;
}

function section(tag: string, operations: readonly Operation[]): string {
  const own = operations.filter((operation) => tagOf(operation) === tag);
  return `<h2 id="${anchor(tag)}">${text(tag)}</h2>\n${own.map(operationDetails).join('\n')}`;
}

function operationDetails({ method, path, spec }: Operation): string {
  const capability = text(spec['x-capability']);
  const access =
    capability === 'pub' ? 'No token needed.' : `Needs a token with <code>${capability}</code>.`;
  return `<details id="${anchor(plain(spec['operationId']))}">
<summary><span class="method">${method}</span> <code>${text(path)}</code> ${text(spec['summary'])}</summary>
<p>${prose(spec['description'])} ${access}</p>
${parameters(asList(spec['parameters']))}
${requestBody(asObject(spec['requestBody']))}
${responses(asObject(spec['responses']))}
</details>`;
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

function responses(byStatus: Json): string {
  const rows = Object.entries(byStatus).map(([status, response]) => {
    const { description, content } = asObject(response);
    const [type, media] = Object.entries(asObject(content))[0] ?? ['', {}];
    const schema = asObject(asObject(media)['schema']);
    const isSuccess = status.startsWith('2');
    const shape = isSuccess && schema['type'] === 'object' ? fields(schema) : '';
    return row([
      `<code>${text(status)}</code>`,
      `${prose(description)} <span class="muted">${text(type)}</span>${shape}`,
    ]);
  });
  return `<h4>Answers</h4><table><tbody>${rows.join('')}</tbody></table>`;
}

function schemaDetails([name, schema]: [string, unknown]): string {
  const object = asObject(schema);
  return `<details id="schema-${anchor(name)}"><summary><code>${text(name)}</code></summary>
${fields(object)}${exampleOf(object, undefined)}</details>`;
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
    .replaceAll('"', '&quot;');
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
