/**
 * A metric with a sample for each of many rows, such as Services. It is written as text at each scrape: a registry would hold a sample
 * for each row, and make all of their text at once.
 */
export type MetricFamily<Row> = {
  readonly name: string;
  readonly kind: 'counter' | 'gauge';
  readonly help: string;
  /** `undefined`: no sample. */
  readonly valueOf: (row: Row) => number | undefined;
};

type MakeFamily<Row> = (name: string, help: string, valueOf: MetricFamily<Row>['valueOf']) => MetricFamily<Row>;

export function familiesOf<Row>(): Readonly<Record<MetricFamily<Row>['kind'], MakeFamily<Row>>> {
  return {
    counter: (name, help, valueOf) => ({ name, kind: 'counter', help, valueOf }),
    gauge: (name, help, valueOf) => ({ name, kind: 'gauge', help, valueOf }),
  };
}

const rowsPerPortion = 250;

/**
 * The metric in the Prometheus text format, in portions that take about a millisecond each. `rows`: each with its labels, as `labelText`
 * writes them.
 */
export function* portionsOf<Row>(
  { name, kind, help, valueOf }: MetricFamily<Row>,
  rows: Iterable<readonly [labels: string, Row]>,
): Generator<string> {
  let text = `# HELP ${name} ${help}\n# TYPE ${name} ${kind}\n`;
  let count = 0;
  for (const [labels, row] of rows) {
    const value = valueOf(row);
    if (value !== undefined) text += `${name}{${labels}} ${value}\n`;
    if (++count % rowsPerPortion !== 0) continue;
    yield text;
    text = '';
  }
  yield text;
}

/** `name="value"`. */
export function labelText(name: string, value: string): string {
  return `${name}="${/[\\"\n]/.test(value) ? value.replaceAll(/[\\"]/g, '\\$&').replaceAll('\n', '\\n') : value}"`;
}
