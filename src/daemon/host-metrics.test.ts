import { expect, test } from 'vitest';
import { makeMetrics } from '../main/node/metrics.ts';
import { makeHostMetrics } from './host-metrics.ts';

/** The lines of furiwake's own metrics, without comments. */
async function linesOf(metrics: ReturnType<typeof makeMetrics>): Promise<readonly string[]> {
  return (await metrics.text()).split('\n').filter((line) => line.startsWith('furiwake_'));
}

test('readiness, version, pool and Services by status; pool and Services only while they are known', async () => {
  const metrics = makeMetrics();
  const set = makeHostMetrics(metrics, '0.2.0');
  const unknown = { isReady: false, pool: undefined, services: undefined };
  const unknownLines = ['furiwake_build_info{version="0.2.0"} 1', 'furiwake_ready 0'];
  set(unknown);
  expect((await linesOf(metrics)).toSorted()).toEqual(unknownLines);

  const pool = { ranges: [], size: '11', used: 4, leftOut: [] };
  set({ isReady: true, pool, services: new Map([['Serving', 2]]) });
  expect(await linesOf(metrics)).toEqual(
    expect.arrayContaining([
      'furiwake_ready 1',
      'furiwake_services{state="Pending"} 0',
      'furiwake_services{state="Serving"} 2',
      'furiwake_pool_addresses{state="used"} 4',
      'furiwake_pool_addresses{state="free"} 7',
    ]),
  );

  set(unknown);
  expect((await linesOf(metrics)).toSorted()).toEqual(unknownLines);
});
