/** What a failure of the speech proxies (contract 2.2) is for the client. */
import { AppError } from '#lib/errors.ts';
import { Problem } from './problem.ts';
import { vendorProblem } from './vendor-part.ts';

export function speechProblem(error: unknown, signal?: AbortSignal): unknown {
  // The server stops: that is why it was given up.
  if (signal?.reason instanceof Problem) return signal.reason;
  if (!(error instanceof AppError) || error instanceof Problem) return error;
  // The client has left: nobody reads this, and it is no fault of ours to be logged.
  if (signal?.aborted === true) return new Problem('REQUEST_TIMEOUT', { cause: error });
  if (error.code === 'E_CONFIG') return new Problem('PROVIDER_NOT_CONFIGURED', { cause: error });
  return vendorProblem(error) ?? error;
}
