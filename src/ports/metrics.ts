export type Labels = Readonly<Record<string, string>>;

export type Counter = { add(value: number, labels?: Labels): void };
export type Gauge = { set(value: number, labels?: Labels): void; remove(labels: Labels): void; reset(): void };
export type Histogram = { observe(value: number, labels?: Labels): void };

/**
 * The registry of metrics. Names have the prefix `furiwake_` and the unit; a second call with a name returns the same
 * metric.
 */
export type Metrics = {
  counter(name: string, help: string, labelNames?: readonly string[]): Counter;
  gauge(name: string, help: string, labelNames?: readonly string[]): Gauge;
  /** `buckets`: upper bounds, ascending, in the metric's unit. */
  histogram(name: string, help: string, buckets: readonly number[], labelNames?: readonly string[]): Histogram;
};
