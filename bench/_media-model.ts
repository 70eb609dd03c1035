/** The realtime model of _media-ai.ts, a process of its own: OpenAI's events over a WebSocket. Asked, it tells ms heard. */
import { systemClock } from '#lib/clock.ts';
import { startOpenAiRealtimeSim } from '#providers/sim/openai-realtime.ts';
import { FaultPlan } from '#providers/sim/vendor-server.ts';

/** 200 ms a word: half of the six seconds that a caller's round takes. */
const ANSWER = 'We open at nine on every day of the week but for Sunday alone in May.';

const sim = await startOpenAiRealtimeSim({
  ...{ key: 'made-up', clock: systemClock, faults: new FaultPlan() },
  words: { '1': 'When do you open?' },
  answer: () => ({ text: ANSWER }),
});
process.on('disconnect', () => process.exit(0));
process.on('message', () => {
  const { heardMs, violations } = sim;
  process.send?.({
    heardMs: heardMs.reduce((sum, ms) => sum + ms, 0),
    calls: heardMs.length,
    violations: violations.length,
  });
});
process.send?.(sim.server.wsUrl);
