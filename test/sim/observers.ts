import type { Log } from '../../src/ports/log.ts';
import type { Labels, Metrics } from '../../src/ports/metrics.ts';

/** Metrics that a test can read. */
export type RecordedMetrics = Metrics & {
  /** The sum of what was added to a counter, of all label sets that contain `labels`. */
  total(name: string, labels?: Labels): number;
  /** The last value of a gauge. */
  gaugeOf(name: string): number | undefined;
};

/** Keeps to the contract of its port (test/contract/metrics.ts). */
export function recordMetrics(): RecordedMetrics {
  const added: { readonly name: string; readonly value: number; readonly labels: Labels }[] = [];
  const gauges = new Map<string, number>();
  const names = new Map<string, readonly string[]>();
  const declare = (name: string, labelNames: readonly string[] = []): void => {
    if (!names.has(name)) names.set(name, labelNames);
  };
  const check = (name: string, labels: Labels): void => {
    const unknown = Object.keys(labels).find((label) => names.get(name)?.includes(label) !== true);
    if (unknown !== undefined) throw new Error(`${name} has no label ${unknown}`);
  };
  return {
    counter: (name, _, labelNames) => {
      declare(name, labelNames);
      return {
        add: (value, labels = {}) => {
          check(name, labels);
          if (value < 0) throw new Error(`${name} is a counter: it cannot decrease`);
          added.push({ name, value, labels });
        },
      };
    },
    gauge: (name, _, labelNames) => {
      declare(name, labelNames);
      return {
        set: (value, labels = {}) => {
          check(name, labels);
          gauges.set(name, value);
        },
        remove: () => void gauges.delete(name),
        reset: () => void gauges.delete(name),
      };
    },
    histogram: (name, _, __, labelNames) => {
      declare(name, labelNames);
      return { observe: (_value, labels = {}) => check(name, labels) };
    },
    total: (name, labels = {}) =>
      added
        .filter((entry) => entry.name === name)
        .filter((entry) => Object.entries(labels).every(([label, value]) => entry.labels[label] === value))
        .reduce((sum, { value }) => sum + value, 0),
    gaugeOf: (name) => gauges.get(name),
  };
}

export type LogLine = {
  readonly level: string;
  readonly fields: Readonly<Record<string, unknown>>;
  readonly message: string;
};

export type RecordedLog = Log & {
  readonly lines: readonly LogLine[];
  /** What fails at this moment, and how many of it. */
  readonly failures: ReadonlyMap<string, number>;
};

/** A log that a test can read. */
export function recordLog(lines: LogLine[] = []): RecordedLog {
  const at =
    (level: string) =>
    (fields: LogLine['fields'], message: string): void =>
      void lines.push({ level, fields, message });
  const failures = new Map<string, number>();
  const failing: Log['failing'] = (what, change) => {
    const count = (failures.get(what) ?? 0) + change;
    if (count === 0) failures.delete(what);
    else failures.set(what, count);
  };
  const log = {
    lines,
    failures,
    failing,
    debug: at('debug'),
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
    child: () => log,
  };
  return log;
}
