/** The same few refusals stand at every route: the document writes each once and refers to it. */

type Response = { readonly description?: string };
type Operation = { readonly responses?: Readonly<Record<string, Response>> };
type Paths = Readonly<Record<string, Readonly<Record<string, Operation>>>>;

/** The document with its refusals in `components.responses`, each named by the codes that it tells of. */
export function shareRefusals<T extends { paths?: unknown; components?: unknown }>(document: T): T {
  const shared: Record<string, Response> = {};
  const paths = mapValues((document.paths ?? {}) as Paths, (methods) =>
    mapValues(methods, (operation) => ({
      ...operation,
      responses: mapValues(operation.responses ?? {}, (response) => share(response, shared)),
    })),
  );
  const components = { ...(document.components as object), responses: shared };
  return { ...document, paths, components };
}

function share(response: Response, shared: Record<string, Response>): Response | { $ref: string } {
  const codes = response.description?.match(/(?<=`)[A-Z_]+(?=`:)/g) ?? null;
  if (codes === null) return response;
  const name = codes.join('.');
  shared[name] ??= response;
  return { $ref: `#/components/responses/${name}` };
}

function mapValues<V, W>(
  object: Readonly<Record<string, V>>,
  change: (value: V) => W,
): Record<string, W> {
  return Object.fromEntries(Object.entries(object).map(([key, value]) => [key, change(value)]));
}
