/** Scripted providers behind a lineup, on simulated time. */
import { setImmediate as turn } from 'node:timers/promises';
import type { SimulatedClock } from '#lib/clock.ts';
import { AppError } from '#lib/errors.ts';
import { silentLog } from '#lib/log.ts';
import type { ProviderKind } from '#providers/contract.ts';
import { Lineup, type Candidate } from '#providers/pool/lineup.ts';
import { PoolMember } from '#providers/pool/member.ts';

export type Told = { readonly failovers: string[]; readonly failures: string[] };

export type Rig<T> = Told & { readonly lineup: Lineup<T>; readonly members: PoolMember[] };

/** `providers` in their order; the last resort last. */
export function rigOf<T extends { readonly vendor: string }>(
  kind: ProviderKind,
  clock: SimulatedClock,
  providers: readonly T[],
  lastResort?: T,
): Rig<T> {
  const failovers: string[] = [];
  const failures: string[] = [];
  const events = {
    requested: () => undefined,
    failed: (member: PoolMember, failure: string) =>
      void failures.push(`${member.vendor} ${failure}`),
    failedOver: (from: PoolMember, to: PoolMember) =>
      void failovers.push(`${from.vendor}>${to.vendor}`),
  };
  const candidates = [...providers, ...(lastResort === undefined ? [] : [lastResort])].map(
    (provider): Candidate<T> => ({
      member: new PoolMember({
        ...{ kind, vendor: provider.vendor, clock, events, random: () => 0.5 },
        isRemote: provider !== lastResort,
      }),
      ...{ provider, hasAgentsVoice: provider === providers[0] },
      isLastResort: provider === lastResort,
    }),
  );
  const lineup = new Lineup({ candidates, clock, log: silentLog, keepMs: Infinity });
  return { lineup, members: candidates.map(({ member }) => member), failovers, failures };
}

/** Lets promises run, then time by `ms` in steps of `stepMs`. */
export async function pass(clock: SimulatedClock, ms: number, stepMs = 10): Promise<void> {
  await turn();
  for (let done = 0; done < ms; done += stepMs) {
    clock.advance(Math.min(stepMs, ms - done));
    await turn();
  }
}

export function broken(code: AppError['code'] = 'E_PROVIDER_SERVER'): AppError {
  return new AppError(code, `scripted ${code}`);
}
