import { compareByHand, repetitions } from './against-by-hand.ts';
import type { Bench } from './bench.ts';

const services = 1_000;

/** Services without any annotation against a plain `listen` for each. */
export const throughput: Bench = {
  name: 'throughput',
  title: `against hand-written HAProxy: wrk with 64 connections, ${services} Services, medians of ${repetitions}`,
  run: (context) =>
    compareByHand(context, {
      services,
      targets: { 'keep-alive requests': 0.9, 'new connections': 0.85, bulk: 0.9 },
    }),
};
