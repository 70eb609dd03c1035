/** A reporter for `node --test`: the files with a failure in them, one a line, each once. */
import type { TestEvent } from 'node:test/reporters';

// oxlint-disable-next-line import/no-default-export -- node:test loads a reporter by its default export
export default async function* failedFiles(
  events: AsyncIterable<TestEvent>,
): AsyncGenerator<string> {
  const told = new Set<string>();
  for await (const event of events) {
    const file = event.type === 'test:fail' ? event.data.file : undefined;
    if (file === undefined || told.has(file)) continue;
    told.add(file);
    yield `${file}\n`;
  }
}
