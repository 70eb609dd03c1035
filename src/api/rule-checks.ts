/** What a schema cannot say of an answer rule (contract section 5), and the form in which a rule is stored. */
import type { Action, Conditions, NumberList } from '#lib/answer-rule.ts';
import { foldApp } from '#lib/app-name.ts';
import type { Id } from '#lib/ids.ts';
import { isLocalDate } from '#lib/local-date.ts';
import { normalizePhone, normalizePhonePrefix } from '#lib/phone.ts';
import { isTimeZone } from '#lib/wall-time.ts';
import { Problem, type FieldFault } from './problem.ts';
import type { RuleBody } from './rule-schemas.ts';

type ConditionsInput = RuleBody['conditions'];
type ActionInput = RuleBody['action'];
type ListInput = Pick<NonNullable<ConditionsInput['callers']>, 'numbers' | 'prefixes'>;

/** Gathers faults, so that one answer names all of them. */
export class Faults {
  readonly list: FieldFault[] = [];

  add(path: string, rule: string, params?: FieldFault['params']): void {
    this.list.push({ path, rule, ...(params === undefined ? {} : { params }) });
  }

  /** Errors: VALIDATION_FAILED when there are any. */
  refuse(): void {
    if (this.list.length > 0) throw new Problem('VALIDATION_FAILED', { faults: this.list });
  }
}

/** Numbers in normal form. `at` is the JSON pointer of the conditions. */
export function readConditions(given: ConditionsInput, at: string, faults: Faults): Conditions {
  const { timeRange, dates, apps, callers, calledNumbers } = given;
  if (timeRange?.timezone !== undefined && !isTimeZone(timeRange.timezone)) {
    faults.add(`${at}/timeRange/timezone`, 'timezone');
  }
  for (const side of ['include', 'exclude'] as const) {
    for (const [index, span] of (dates?.[side] ?? []).entries()) {
      checkSpan(span, `${at}/dates/${side}/${index}`, faults);
    }
  }
  for (const [index, app] of (apps?.list ?? []).entries()) {
    if (foldApp(app) === '') faults.add(`${at}/apps/list/${index}`, 'minLength', { limit: 1 });
  }
  if (callers !== undefined && callers.anonymous === undefined) {
    refuseEmptyList(callers, `${at}/callers`, faults);
  }
  if (calledNumbers !== undefined) refuseEmptyList(calledNumbers, `${at}/calledNumbers`, faults);
  return {
    ...(timeRange === undefined ? {} : { timeRange }),
    ...(dates === undefined ? {} : { dates: dates as NonNullable<Conditions['dates']> }),
    ...(apps === undefined ? {} : { apps }),
    ...(callers === undefined
      ? {}
      : { callers: { ...callers, ...readNumbers(callers, `${at}/callers`, faults) } }),
    ...(calledNumbers === undefined
      ? {}
      : {
          calledNumbers: {
            ...calledNumbers,
            ...readNumbers(calledNumbers, `${at}/calledNumbers`, faults),
          },
        }),
  };
}

/** Ids in lower case, numbers in normal form. `at` is the JSON pointer of the action. */
export function readAction(given: ActionInput, at: string, faults: Faults): Action {
  if (given.answer) checkAnswering(given, at, faults);
  else checkRefusing(given, at, faults);
  const { agentId, squadId, forward } = given;
  return {
    ...given,
    ...(agentId === undefined ? {} : { agentId: agentId.toLowerCase() }),
    ...(squadId === undefined ? {} : { squadId: squadId.toLowerCase() }),
    ...(forward === undefined
      ? {}
      : { forward: { ...forward, to: readTarget(forward.to, `${at}/forward/to`, faults) } }),
  } as Action;
}

/** The ids an action names, by their JSON pointer below the action. */
export function namedIn(action: Action): ReadonlyMap<string, Id> {
  const named = new Map<string, Id>();
  if (action.agentId !== undefined) named.set('/agentId', action.agentId);
  if (action.squadId !== undefined) named.set('/squadId', action.squadId);
  return named;
}

/** Exactly one of the agent, `forward`, `voicemail`, or the announcement. */
function checkAnswering(given: ActionInput, at: string, faults: Faults): void {
  const { useAgent, agentId, squadId, greeting, forward, voicemail, reject } = given;
  const other =
    forward !== undefined ? 'forward' : voicemail !== undefined ? 'voicemail' : undefined;
  const exclude = (field: string, from: string): void =>
    faults.add(`${at}/${field}`, 'exclusive', { other: from });
  if (reject !== undefined) exclude('reject', 'answer: true');
  if (forward !== undefined && voicemail !== undefined) exclude('voicemail', 'forward');
  if (agentId !== undefined && squadId !== undefined) exclude('squadId', 'agentId');
  if (other !== undefined) {
    if (useAgent === true) exclude('useAgent', other);
    if (agentId !== undefined) exclude('agentId', other);
    if (squadId !== undefined) exclude('squadId', other);
    if (greeting !== undefined) exclude('greeting', other);
  } else if (useAgent === false) {
    if (agentId !== undefined) exclude('agentId', 'useAgent: false');
    if (squadId !== undefined) exclude('squadId', 'useAgent: false');
    if (greeting === undefined) faults.add(`${at}/greeting`, 'required');
  }
}

/** `reject`, or nothing: then the call rings on. */
function checkRefusing(given: ActionInput, at: string, faults: Faults): void {
  const refused = ['agentId', 'squadId', 'greeting', 'forward', 'voicemail'] as const;
  for (const field of refused) {
    if (given[field] === undefined) continue;
    faults.add(`${at}/${field}`, 'exclusive', { other: 'answer: false' });
  }
  if (given.useAgent === true) {
    faults.add(`${at}/useAgent`, 'exclusive', { other: 'answer: false' });
  }
}

const SIP_URI = /^sips?:[^\s<>"]+$/i;

function readTarget(text: string, path: string, faults: Faults): string {
  if (SIP_URI.test(text)) return text;
  const number = normalizePhone(text);
  if (number === null) faults.add(path, 'phone');
  return number ?? text;
}

function checkSpan(span: string | readonly string[], path: string, faults: Faults): void {
  const days = typeof span === 'string' ? [span] : span;
  const bad = days.findIndex((day) => !isLocalDate(day));
  if (bad >= 0) faults.add(typeof span === 'string' ? path : `${path}/${bad}`, 'date');
  else if ((days[1] ?? '9999') < (days[0] ?? '')) faults.add(`${path}/1`, 'order');
}

function refuseEmptyList(list: ListInput, path: string, faults: Faults): void {
  if (list.numbers === undefined && list.prefixes === undefined) {
    faults.add(`${path}/numbers`, 'required');
  }
}

function readNumbers(
  list: ListInput,
  path: string,
  faults: Faults,
): Pick<NumberList, 'numbers' | 'prefixes'> {
  const read = (
    field: 'numbers' | 'prefixes',
    normalise: (text: string) => string | null,
  ): readonly string[] | undefined =>
    list[field]?.map((text, index) => {
      const normal = normalise(text);
      if (normal === null) faults.add(`${path}/${field}/${index}`, 'phone');
      return normal ?? text;
    });
  const numbers = read('numbers', normalizePhone);
  // A prefix that is nothing but separators would match every number.
  const prefixes = read('prefixes', (text) => normalizePhonePrefix(text.trim()) || null);
  return {
    ...(numbers === undefined ? {} : { numbers }),
    ...(prefixes === undefined ? {} : { prefixes }),
  };
}
