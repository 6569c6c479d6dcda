mod fair;
mod histories;
mod purchases;
mod real;
mod street;
mod world;
