//! Amounts for people. Programs get minor units: here, and only here, a decimal point is put in.

/// An amount with its currency: `1250`, `EUR` is `12.50 EUR`. With no currency known, minor units said to be such.
#[must_use]
pub fn format(minor_units: i64, currency_code: &str) -> String {
    if currency_code.is_empty() {
        return format!("{minor_units} minor units");
    }
    format!("{} {currency_code}", decimal(minor_units, exponent(currency_code)))
}

/// How many digits of the minor unit ISO 4217 gives a currency. Those not named have two.
#[must_use]
pub fn exponent(currency_code: &str) -> u32 {
    match currency_code {
        "BIF" | "CLP" | "DJF" | "GNF" | "ISK" | "JPY" | "KMF" | "KRW" | "PYG" | "RWF" | "UGX" | "UYI"
        | "VND" | "VUV" | "XAF" | "XOF" | "XPF" => 0,
        "BHD" | "IQD" | "JOD" | "KWD" | "LYD" | "OMR" | "TND" => 3,
        "CLF" | "UYW" => 4,
        _ => 2,
    }
}

fn decimal(minor_units: i64, exponent: u32) -> String {
    let sign = if minor_units < 0 { "-" } else { "" };
    let amount = minor_units.unsigned_abs();
    if exponent == 0 {
        return format!("{sign}{amount}");
    }
    let unit = 10_u64.pow(exponent);
    let digits = usize::try_from(exponent).expect("an exponent is at most four");
    format!("{sign}{}.{:0digits$}", amount / unit, amount % unit)
}

#[cfg(test)]
mod tests;
