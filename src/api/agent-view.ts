/** Between the agent of a body, the `config` that is stored, and the agent of an answer. */
import type { Static } from 'typebox';
import type { Id } from '#lib/ids.ts';
import { urlFault, type Reach } from '#lib/safe-fetch.ts';
import type { AgentConfigJson, AgentFields, StoredAgent } from '#store/agent-admin.ts';
import {
  OPTIONAL_FIELDS,
  type AgentBody,
  type AgentPatch,
  type AgentSchema,
} from './agent-schemas.ts';
import { Problem } from './problem.ts';
import { Faults } from './rule-checks.ts';
import { freeFormFaults } from './validation.ts';

type Json = Readonly<Record<string, unknown>>;
type Config = Partial<Omit<AgentBody, 'name'>>;
export type AgentView = Static<typeof AgentSchema>;

const VENDOR_KINDS = ['stt', 'llm', 'tts', 'realtime'] as const;

/** Every optional field is there, null when absent, also inside; nothing is invented. */
export function agentView(agent: StoredAgent): AgentView {
  const config = agent.config;
  const shown: Record<string, unknown> = withNulls(config, OPTIONAL_FIELDS.agent);
  for (const kind of VENDOR_KINDS) shown[kind] = vendorView(config[kind], OPTIONAL_FIELDS[kind]);
  for (const part of ['turn', 'silence', 'tools', 'filler', 'voicemail', 'sounds'] as const) {
    shown[part] = isObject(config[part]) ? withNulls(config[part], OPTIONAL_FIELDS[part]) : null;
  }
  const functions = config['functions'];
  if (Array.isArray(functions)) {
    shown['functions'] = functions.map((each) => withNulls(each as Json, OPTIONAL_FIELDS.function));
  }
  return {
    id: agent.id,
    name: agent.name,
    system_prompt: '',
    ...shown,
    created_at: agent.createdAt,
    updated_at: agent.updatedAt,
  } as AgentView;
}

/** Errors: VALIDATION_FAILED. */
export function agentOfBody(body: AgentBody, reach: Reach): AgentFields {
  const { name, ...config } = body;
  refuseBad(config, name, reach);
  return { name, config: withoutNulls(config) };
}

/** The agent with the fields of the patch replaced; null takes a field away. Errors: VALIDATION_FAILED. */
export function agentWithPatch(known: StoredAgent, patch: AgentPatch, reach: Reach): AgentFields {
  const { name = known.name, ...config } = patch;
  refuseBad(config, name, reach);
  const merged: Record<string, unknown> = { ...known.config, ...config };
  return { name, config: withoutNulls(merged) };
}

/** The accounts at vendors that a body names, by JSON pointer. */
export function configIdsIn(body: Config): ReadonlyMap<string, Id> {
  const named = new Map<string, Id>();
  const note = (pointer: string, id: Id | null | undefined): void => {
    if (id !== null && id !== undefined) named.set(pointer, id.toLowerCase());
  };
  for (const kind of VENDOR_KINDS) {
    const vendor = body[kind];
    note(`/${kind}/config_id`, vendor?.config_id);
    for (const [index, fallback] of (vendor?.fallback ?? []).entries()) {
      note(`/${kind}/fallback/${index}/config_id`, fallback.config_id);
    }
  }
  return named;
}

/** What the schema cannot say. */
function refuseBad(config: Config, name: string, reach: Reach): void {
  const faults = new Faults();
  const { language, turn, functions, tools, variables, metadata } = config;
  if (name.trim() === '') faults.add('/name', 'minLength', { limit: 1 });
  if (language !== undefined && language !== null && !isLanguage(language)) {
    faults.add('/language', 'language');
  }
  const [least, most] = [turn?.endpoint_min_ms ?? 200, turn?.endpoint_max_ms ?? 3_000];
  if (least > most) faults.add('/turn/endpoint_max_ms', 'minimum', { limit: least });
  const names = new Set<string>(tools?.builtins ?? []);
  for (const [index, each] of (functions ?? []).entries()) {
    const at = `/functions/${index}`;
    if (names.has(each.name)) faults.add(`${at}/name`, 'distinct');
    names.add(each.name);
    const fault = typeof each.url === 'string' ? urlFault(each.url, reach) : null;
    if (fault !== null) faults.add(`${at}/url`, fault);
    // The names inside are those of arguments, whatever their length.
    faults.list.push(...freeFormFaults({ schema: each.parameters }, `${at}/parameters`));
  }
  for (const [index, { name: server, url }] of (tools?.mcp_servers ?? []).entries()) {
    const at = `/tools/mcp_servers/${index}`;
    if (names.has(`mcp ${server}`)) faults.add(`${at}/name`, 'distinct');
    names.add(`mcp ${server}`);
    const fault = urlFault(url, reach);
    if (fault !== null) faults.add(`${at}/url`, fault);
  }
  for (const [path, source] of [
    ['/background', config.background],
    ['/sounds/hold_music', config.sounds?.hold_music],
  ] as const) {
    const fault = source?.startsWith('http') === true ? urlFault(source, reach) : null;
    if (fault !== null) faults.add(path, fault);
  }
  for (const [path, value] of freeFormsIn(config)) faults.list.push(...freeFormFaults(value, path));
  for (const [field, value] of [
    ['/variables', variables],
    ['/metadata', metadata],
  ] as const) {
    if (value !== undefined && value !== null) faults.list.push(...freeFormFaults(value, field));
  }
  // Anything but true or false would leave words unmasked without a sign of it.
  const mask = metadata?.['mask_at_rest'];
  if (mask !== undefined && typeof mask !== 'boolean') {
    faults.add('/metadata/mask_at_rest', 'type', { type: 'boolean' });
  }
  faults.refuse();
}

function freeFormsIn(config: Config): [string, object][] {
  return VENDOR_KINDS.flatMap((kind) => {
    const vendor = config[kind];
    const all = [vendor, ...(vendor?.fallback ?? [])];
    return all.flatMap((each, index): [string, object][] => {
      const at = index === 0 ? `/${kind}` : `/${kind}/fallback/${index - 1}`;
      const options = each?.options;
      return options === undefined || options === null ? [] : [[`${at}/options`, options]];
    });
  });
}

function vendorView(value: unknown, fields: readonly string[]): Json | null {
  if (!isObject(value)) return null;
  const shown = withNulls(value, [...OPTIONAL_FIELDS.vendor, ...fields]);
  const fallback = value['fallback'];
  if (!Array.isArray(fallback)) return shown;
  return {
    ...shown,
    fallback: fallback.map((each) => withNulls(each as Json, OPTIONAL_FIELDS.vendor)),
  };
}

function withNulls(value: Json, fields: readonly string[]): Record<string, unknown> {
  return { ...Object.fromEntries(fields.map((name) => [name, null])), ...value };
}

/** Absent and null are one; free-form objects keep their own nulls. */
function withoutNulls(config: Json): AgentConfigJson {
  const kept: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(config)) {
    if (value === null || value === undefined) continue;
    kept[name] = isFreeForm(name) ? value : stripped(value);
  }
  return kept;
}

function stripped(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(stripped);
  if (!isObject(value)) return value;
  const kept: Record<string, unknown> = {};
  for (const [name, each] of Object.entries(value)) {
    if (each === null) continue;
    if (name === 'config_id' && typeof each === 'string') kept[name] = each.toLowerCase();
    else kept[name] = isFreeForm(name) ? each : stripped(each);
  }
  return kept;
}

function isFreeForm(name: string): boolean {
  return ['options', 'parameters', 'variables', 'metadata'].includes(name);
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isLanguage(tag: string): boolean {
  try {
    return Intl.getCanonicalLocales(tag).length === 1;
  } catch (error) {
    if (error instanceof RangeError) return false;
    throw error;
  }
}

/** The refusal of a deletion, listing by what the agent is still named. */
export function inUseProblem(uses: ReadonlyMap<string, number>): Problem {
  return new Problem('IN_USE', {
    faults: [...uses].map(([what, count]) => ({ path: what, rule: 'in_use', params: { count } })),
  });
}
