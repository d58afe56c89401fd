/**
 * Reads JSON of unknown shape: each function returns the value if it has the expected type, else an empty value, and never
 * throws. Projections are built from them, so that one malformed object cannot stop the others.
 */
export type Json = unknown;

export function fieldsOf(value: Json): Readonly<Record<string, Json>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, Json>) : {};
}

export function listOf(value: Json): readonly Json[] {
  return Array.isArray(value) ? value : [];
}

export function textOf(value: Json): string {
  return typeof value === 'string' ? value : '';
}

/** The text; `undefined` if it is absent, empty or not a text. */
export function optionalTextOf(value: Json): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}

export function integerOf(value: Json): number {
  return typeof value === 'number' && Number.isInteger(value) ? value : 0;
}

export function textsOf(value: Json): readonly string[] {
  return listOf(value).filter((item) => typeof item === 'string');
}
