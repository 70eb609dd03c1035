/** The OpenAPI document as tests use it: its operations, validators of what it declares, and values made from its schemas. */
import { Compile } from 'typebox/compile';
import type { TSchema } from 'typebox';

export type Schema = Readonly<Record<string, unknown>>;

type RawOperation = {
  readonly operationId: string;
  readonly 'x-capability': string;
  readonly parameters?: readonly {
    readonly name: string;
    readonly in: 'path' | 'query' | 'header';
    readonly required?: boolean;
    readonly schema: Schema;
  }[];
  readonly requestBody?: { readonly content: Readonly<Record<string, { schema: Schema }>> };
  readonly responses: Readonly<Record<string, RawResponse | { readonly $ref: string }>>;
};

type RawResponse = { readonly content?: Readonly<Record<string, { schema?: Schema }>> };

export type Document = {
  readonly paths: Readonly<Record<string, Readonly<Record<string, RawOperation>>>>;
  readonly components: {
    readonly schemas: Readonly<Record<string, Schema>>;
    readonly responses: Readonly<Record<string, RawResponse>>;
  };
};

/** One method of one path. References in its schemas are resolved. */
export type Operation = {
  readonly method: string;
  /** As in the document, `/v1/assistants/{id}`. */
  readonly path: string;
  /** Method and path with bare `{}` for every parameter. */
  readonly name: string;
  readonly capability: string;
  readonly pathParams: readonly string[];
  readonly query: Readonly<Record<string, Schema>>;
  /** Null: the route takes no JSON body. */
  readonly body: Schema | null;
  readonly mediaTypes: readonly string[];
  /** Declared statuses; a null validator answers something else than JSON. */
  readonly answers: ReadonlyMap<number, Validator | null>;
};

export type Validator = (body: unknown) => string[];

export function operationsOf(document: Document): Operation[] {
  const found: Operation[] = [];
  for (const [path, methods] of Object.entries(document.paths)) {
    for (const [method, raw] of Object.entries(methods)) {
      found.push(operationOf(document, path, method.toUpperCase(), raw));
    }
  }
  return found;
}

function operationOf(
  document: Document,
  path: string,
  method: string,
  raw: RawOperation,
): Operation {
  const parameters = raw.parameters ?? [];
  const content = raw.requestBody?.content ?? {};
  const body = content['application/json']?.schema;
  return {
    method,
    path,
    name: `${method} ${path.replace(/\{\w+\}/g, '{}')}`,
    capability: raw['x-capability'],
    pathParams: parameters.filter((each) => each.in === 'path').map((each) => each.name),
    query: Object.fromEntries(
      parameters
        .filter((each) => each.in === 'query')
        .map((each) => [each.name, resolved(each.schema, document) as Schema]),
    ),
    body: body === undefined ? null : (resolved(body, document) as Schema),
    mediaTypes: Object.keys(content),
    answers: new Map(
      Object.entries(raw.responses).map(([status, response]) => [
        Number(status),
        validatorOf(responseOf(response, document).content?.['application/json']?.schema, document),
      ]),
    ),
  };
}

/** What stands there, or what it refers to in `components.responses`. */
export function responseOf(
  response: RawResponse | { readonly $ref: string },
  document: Pick<Document, 'components'>,
): RawResponse {
  if (!('$ref' in response)) return response;
  const found = document.components.responses[response.$ref.split('/').at(-1) ?? ''];
  if (found === undefined) throw new Error(`${response.$ref} does not exist`);
  return found;
}

function validatorOf(schema: Schema | undefined, document: Document): Validator | null {
  if (schema === undefined) return null;
  const compiled = Compile(closed(resolved(schema, document)) as TSchema);
  return (body) =>
    compiled.Check(body)
      ? []
      : [...compiled.Errors(body)].map((fault) => `${fault.instancePath} ${fault.message}`);
}

/** The schema with each `$ref` replaced by what it names. */
export function resolved(schema: unknown, document: Document, depth = 0): unknown {
  if (depth > 40) throw new Error('a schema refers to itself');
  if (Array.isArray(schema)) return schema.map((each) => resolved(each, document, depth + 1));
  if (typeof schema !== 'object' || schema === null) return schema;
  const { $ref } = schema as { $ref?: unknown };
  if (typeof $ref === 'string') {
    return resolved(document.components.schemas[$ref.split('/').at(-1) ?? ''], document, depth + 1);
  }
  return Object.fromEntries(
    Object.entries(schema).map(([key, value]) => [
      key,
      // Examples are data: a field called `$ref` in one of them refers to nothing.
      key === 'examples' || key === 'example' ? value : resolved(value, document, depth + 1),
    ]),
  );
}

/** An object whose fields are listed takes no other: an undeclared field in an answer is a fault. */
function closed(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(closed);
  if (typeof schema !== 'object' || schema === null) return schema;
  const copy = Object.fromEntries(
    Object.entries(schema).map(([key, value]) => [key, closed(value)]),
  );
  const isOpen = 'additionalProperties' in copy || 'patternProperties' in copy;
  return 'properties' in copy && !isOpen ? { ...copy, additionalProperties: false } : copy;
}

/** Objects of a schema that take fields nobody listed, by their place; for the check that only free forms are open. */
export function openPlaces(schema: unknown, place: string): string[] {
  if (Array.isArray(schema))
    return schema.flatMap((each, at) => openPlaces(each, `${place}/${at}`));
  if (typeof schema !== 'object' || schema === null) return [];
  const node = schema as Record<string, unknown>;
  const inner = Object.entries(node).flatMap(([key, value]) =>
    key === 'examples' || key === 'example' ? [] : openPlaces(value, `${place}/${key}`),
  );
  // A map of typed values says what it holds.
  const isMap = typeof node['additionalProperties'] === 'object';
  const isOpen = node['type'] === 'object' && !('properties' in node) && !isMap;
  return isOpen ? [place, ...inner] : inner;
}
